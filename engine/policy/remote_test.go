package policy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/bundle"
)

// bundleServer serves one bundle at a time, with an ETag, as any web server
// would.
type bundleServer struct {
	*httptest.Server
	mu     sync.Mutex
	body   []byte
	status int
	auth   string // demanded Authorization
	asked  int
}

func newBundleServer(t *testing.T, body []byte) *bundleServer {
	s := &bundleServer{body: body, status: http.StatusOK}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked++
		if s.auth != "" && r.Header.Get("Authorization") != s.auth {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		sum := sha256.Sum256(s.body)
		etag := `"` + hex.EncodeToString(sum[:8]) + `"`
		w.Header().Set("ETag", etag)
		switch {
		case s.status != http.StatusOK:
			w.WriteHeader(s.status)
		case r.Header.Get("If-None-Match") == etag:
			w.WriteHeader(http.StatusNotModified)
		default:
			w.Header().Set("Content-Type", "application/gzip")
			_, _ = w.Write(s.body)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *bundleServer) set(body []byte, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.body, s.status = body, status
}

// pack makes a bundle tarball of files, as `opa build` would.
func pack(t testing.TB, files map[string]string, sign func(*bundle.Bundle)) []byte {
	t.Helper()
	b, err := bundle.NewCustomReader(bundle.NewDirectoryLoader(folder(t, files))).Read()
	if err != nil {
		t.Fatal(err)
	}
	if sign != nil {
		sign(&b)
	}
	var out bytes.Buffer
	if err := bundle.NewWriter(&out).UseModulePath(true).Write(b); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func allowFiles(id string) map[string]string {
	return map[string]string{
		".manifest": `{"revision":"` + id + `","roots":["regate/policies/t"]}`,
		"p.rego":    module("t.p", `allow contains {"id": "t.p/`+id+`"} if true`),
	}
}

// tarball packs anything at all.
func tarball(t testing.TB, write func(*tar.Writer)) []byte {
	t.Helper()
	var out bytes.Buffer
	zw := gzip.NewWriter(&out)
	tw := tar.NewWriter(zw)
	write(tw)
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func addFile(t testing.TB, tw *tar.Writer, name string, body []byte) {
	t.Helper()
	if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(body)), Typeflag: tar.TypeReg}); err != nil {
		t.Fatal(err)
	}
	if _, err := tw.Write(body); err != nil {
		t.Fatal(err)
	}
}

// reload asks the server now; polling is far away.
func reload(t *testing.T, e *Engine) { refresh(t, e) }

func remoteConfig(url string) Config {
	return Config{Bundles: []Bundle{{Name: "t", URL: url, Polling: Polling{Min: time.Hour, Max: 2 * time.Hour}}}}
}

// remoteEngine waits for the first download.
func remoteEngine(t *testing.T, cfg Config) *Engine {
	t.Helper()
	e := startEngine(t, cfg)
	reload(t, e)
	return e
}

func TestRemoteBundle(t *testing.T) {
	s := newBundleServer(t, pack(t, allowFiles("one"), nil))
	cfg := remoteConfig(s.URL + "/bundles/t.tar.gz")
	cfg.Bundles[0].MaxBytes = 1 << 20
	e := remoteEngine(t, cfg)
	if err := e.Ready(); err != nil {
		t.Fatal(err)
	}
	expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/one")
	first := e.Status().Bundles[0]
	if first.Revision != "one" || first.State != stateActive || first.Digest == "" {
		t.Errorf("status %+v", first)
	}

	s.set(pack(t, allowFiles("two"), nil), http.StatusOK)
	reload(t, e)
	expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/two")

	var huge []byte
	for i, c := range []struct {
		name, want string
		body       []byte
		status     int
	}{
		{"server error", "Internal Server Error", nil, 500},
		{"not found", "Not Found", nil, 404},
		{"not an archive", "read archive", []byte("hello"), 200},
		{"cut off", "read archive", pack(t, allowFiles("x"), nil)[:60], 200},
		{"path traversal", "leads out of the bundle", traversal(t), 200},
		{"hidden path traversal", "leads out of the bundle", tarball(t, func(tw *tar.Writer) {
			addFile(t, tw, "/a/../../other/p.rego", []byte(module("t.p", allowAll)))
		}), 200},
		{"link", "neither a file nor a folder", tarball(t, func(tw *tar.Writer) {
			if err := tw.WriteHeader(&tar.Header{Name: "p.rego", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink}); err != nil {
				t.Fatal(err)
			}
		}), 200},
		{"one huge file", "larger than allowed", tarball(t, func(tw *tar.Writer) { addFile(t, tw, "data.json", make([]byte, 3<<20)) }), 200},
		{"many files", "larger than allowed", tarball(t, func(tw *tar.Writer) {
			huge = make([]byte, 200<<10)
			for i := range 12 {
				addFile(t, tw, strings.Repeat("d/", i)+"data.json", huge)
			}
		}), 200},
		{"syntax", "rego_parse_error", rawBundle(t, "package regate.policies.t.p\n\nallow contains {"), 200},
		{"no entry", "has none of the rules", pack(t, map[string]string{".manifest": `{"roots":["regate/policies/t"]}`, "p.rego": module("t.p", "helper if true")}, nil), 200},
		{"type", "rego_type_error", pack(t, map[string]string{".manifest": `{"roots":["regate/policies/t"]}`, "p.rego": module("t.p", `deny contains "x" if input.action.verbb == "x"`)}, nil), 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.set(c.body, c.status)
			reload(t, e)
			b := e.Status().Bundles[0]
			if all := strings.Join(b.Errors, "\n"); !strings.Contains(all, c.want) {
				t.Errorf("%d: got %q, want %q", i, all, c.want)
			}
			if b.State != stateStale || b.Revision != "two" {
				t.Errorf("status %+v", b)
			}
			expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/two")
		})
	}
	s.set(pack(t, allowFiles("three"), nil), http.StatusOK)
	reload(t, e)
	expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/three")
	if b := e.Status().Bundles[0]; b.State != stateActive || len(b.Errors) != 0 {
		t.Errorf("status %+v", b)
	}
}

func traversal(t *testing.T) []byte {
	return tarball(t, func(tw *tar.Writer) { addFile(t, tw, "../other/p.rego", []byte(module("t.p", allowAll))) })
}

func rawBundle(t *testing.T, rego string) []byte {
	return tarball(t, func(tw *tar.Writer) {
		addFile(t, tw, "/.manifest", []byte(`{"roots":["regate/policies/t"]}`))
		addFile(t, tw, "/p.rego", []byte(rego))
	})
}

// The same answer again is not another activation.
func TestNotModified(t *testing.T) {
	s := newBundleServer(t, pack(t, allowFiles("one"), nil))
	e := remoteEngine(t, remoteConfig(s.URL+"/t.tar.gz"))
	before := e.Status()
	reload(t, e)
	after := e.Status()
	if after.Snapshot != before.Snapshot {
		t.Errorf("snapshot %d after %d", after.Snapshot, before.Snapshot)
	}
	if !after.Bundles[0].LastGoodFetch.After(before.Bundles[0].LastGoodFetch) {
		t.Error("the good answer was not noted")
	}
}

func TestBundleServerWantsAToken(t *testing.T) {
	s := newBundleServer(t, pack(t, allowFiles("one"), nil))
	s.auth = "Bearer s3cret"
	cfg := remoteConfig(s.URL + "/t.tar.gz")
	e := remoteEngine(t, cfg)
	if err := e.Ready(); err == nil || !strings.Contains(err.Error(), "Unauthorized") {
		t.Errorf("ready: %v", err)
	}
	cfg.Bundles[0].Auth = &Auth{Bearer: "s3cret"}
	e = remoteEngine(t, cfg)
	if err := e.Ready(); err != nil {
		t.Error(err)
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Bundles[0].Auth = &Auth{BearerFile: file}
	e = remoteEngine(t, cfg)
	if err := e.Ready(); err != nil {
		t.Error(err)
	}
}

func TestS3RequestsAreSigned(t *testing.T) {
	s := newBundleServer(t, pack(t, allowFiles("one"), nil))
	var header http.Header
	var path string
	inner := s.Config.Handler
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header, path = r.Header.Clone(), r.URL.Path
		inner.ServeHTTP(w, r)
	})
	e := remoteEngine(t, Config{Bundles: []Bundle{{
		Name: "t", URL: "s3://policies/prod/t.tar.gz", Polling: Polling{Min: time.Hour, Max: time.Hour},
		Auth: &Auth{S3: &S3Auth{Endpoint: s.URL, Region: "eu-central-1", AccessKey: "AKID", SecretKey: "secret"}},
	}}})
	if err := e.Ready(); err != nil {
		t.Fatal(err)
	}
	got := header.Get("Authorization")
	if !strings.HasPrefix(got, "AWS4-HMAC-SHA256 Credential=AKID/") || !strings.Contains(got, "/eu-central-1/s3/aws4_request") {
		t.Errorf("authorization %q", got)
	}
	if path != "/policies/prod/t.tar.gz" {
		t.Errorf("path %q", path)
	}
}

func keyPair(t *testing.T) (private, public string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub}))
}

func signWith(t *testing.T, key, scope string) func(*bundle.Bundle) {
	return func(b *bundle.Bundle) {
		t.Helper()
		config := bundle.NewSigningConfig(key, "ES256", "")
		if scope != "" {
			claims := filepath.Join(t.TempDir(), "claims.json")
			if err := os.WriteFile(claims, []byte(`{"scope":"`+scope+`","keyid":"k"}`), 0o600); err != nil {
				t.Fatal(err)
			}
			config = bundle.NewSigningConfig(key, "ES256", claims)
		}
		if err := b.GenerateSignature(config, "k", true); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSignedBundles(t *testing.T) {
	private, public := keyPair(t)
	stranger, _ := keyPair(t)
	signed := pack(t, allowFiles("one"), signWith(t, private, "write"))

	tampered := tarball(t, func(tw *tar.Writer) {
		addFile(t, tw, "/.manifest", []byte(`{"revision":"one","roots":["regate/policies/t"]}`))
		addFile(t, tw, "/p.rego", []byte(module("t.p", `allow contains {"id": "t.p/evil"} if true`)))
		addFile(t, tw, "/.signatures.json", signatures(t, signed))
	})
	// The files that were signed, with one more or without one.
	resigned := func(more string) []byte {
		return tarball(t, func(tw *tar.Writer) {
			addFile(t, tw, "/.manifest", []byte(`{"revision":"one","roots":["regate/policies/t"]}`))
			addFile(t, tw, "/data.json", []byte("{}"))
			if more != "" {
				addFile(t, tw, "/p.rego", []byte(allowFiles("one")["p.rego"]))
				addFile(t, tw, more, []byte(module("t.p", `allow contains {"id": "t.p/evil"} if true`)))
			}
			addFile(t, tw, "/.signatures.json", signatures(t, signed))
		})
	}
	for _, c := range []struct {
		name, want string
		body       []byte
		scope      string
	}{
		{"good", "", signed, "write"},
		{"no signature", "missing .signatures.json", pack(t, allowFiles("one"), nil), "write"},
		{"another key", "verif", pack(t, allowFiles("one"), signWith(t, stranger, "write")), "write"},
		{"another scope", "scope", signed, "read"},
		{"changed after signing", "digest", tampered, "write"},
		{"a file more than was signed", "not included in bundle signature", resigned("/q.rego"), "write"},
		{"a file less than was signed", "not found in the target bundle", resigned(""), "write"},
		{"another bundle's signature", "digest", tarball(t, func(tw *tar.Writer) {
			addFile(t, tw, "/.manifest", []byte(`{"revision":"one","roots":["regate/policies/t"]}`))
			addFile(t, tw, "/p.rego", []byte(allowFiles("one")["p.rego"]))
			addFile(t, tw, "/.signatures.json", signatures(t, pack(t, allowFiles("two"), signWith(t, private, "write"))))
		}), "write"},
	} {
		signing := &Signing{KeyID: "k", PublicKey: public, Scope: c.scope, Algorithm: "ES256"}
		check := func(t *testing.T, e *Engine) {
			t.Helper()
			err := e.Ready()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("ready: %v, want %q", err, c.want)
			}
			if c.want != "" {
				expect(t, e.Evaluate(t.Context(), selectDoc()), Deny, "engine/no-bundle")
			}
		}
		t.Run(c.name+", remote", func(t *testing.T) {
			cfg := remoteConfig(newBundleServer(t, c.body).URL + "/t.tar.gz")
			cfg.Bundles[0].Signing = signing
			check(t, remoteEngine(t, cfg))
		})
		t.Run(c.name+", file", func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "t.tar.gz")
			if err := os.WriteFile(file, c.body, 0o600); err != nil {
				t.Fatal(err)
			}
			check(t, startEngine(t, Config{Bundles: []Bundle{{Name: "t", URL: file, Signing: signing}}}))
		})
	}
}

func signatures(t *testing.T, body []byte) []byte {
	t.Helper()
	zr, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	tr := tar.NewReader(zr)
	for {
		h, err := tr.Next()
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(h.Name, ".signatures.json") {
			var out bytes.Buffer
			if _, err := out.ReadFrom(tr); err != nil {
				t.Fatal(err)
			}
			return out.Bytes()
		}
	}
}

// What was activated is kept, so a restart does not need the bundle server; and
// what was refused is not kept in its place.
func TestLastGoodSurvivesARestart(t *testing.T) {
	s := newBundleServer(t, pack(t, allowFiles("one"), nil))
	cfg := remoteConfig(s.URL + "/t.tar.gz")
	cfg.Dir = t.TempDir()
	e := remoteEngine(t, cfg)
	s.set(pack(t, map[string]string{".manifest": `{"roots":["regate/policies/t"]}`, "p.rego": module("t.p", "helper if true")}, nil), http.StatusOK)
	reload(t, e)
	if b := e.Status().Bundles[0]; b.State != stateStale {
		t.Fatalf("status %+v", b)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.set(nil, http.StatusServiceUnavailable)
	again := startEngine(t, cfg)
	if err := again.Ready(); err != nil {
		t.Fatal(err)
	}
	expect(t, again.Evaluate(t.Context(), selectDoc()), Allow, "t.p/one")
}

// The digest says what a bundle holds, however it came.
func TestDigestDoesNotDependOnPacking(t *testing.T) {
	files := allowFiles("one")
	files["data.json"] = `{"regate":{"policies":{"t":{"data":{"n":[1,2.5]}}}}}`
	local := newEngine(t, Config{Bundles: []Bundle{{Name: "t", URL: folder(t, files)}}})
	remote := remoteEngine(t, remoteConfig(newBundleServer(t, pack(t, files, nil)).URL+"/t.tar.gz"))
	if a, b := local.Status().Bundles[0].Digest, remote.Status().Bundles[0].Digest; a != b || a == "" {
		t.Errorf("folder %s, tarball %s", a, b)
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	for _, c := range []struct {
		name   string
		bundle Bundle
		want   string
	}{
		{"neither", Bundle{Name: "t"}, "exactly one of url and paths"},
		{"both", Bundle{Name: "t", URL: "a", Paths: []string{"b"}}, "exactly one of url and paths"},
		{"name", Bundle{Name: "a b", URL: "x"}, "name"},
		{"scheme", Bundle{Name: "t", URL: "ftp://x/y"}, "scheme"},
		{"password in url", Bundle{Name: "t", URL: "https://u:p4ss@x/y"}, "credentials belong into auth"},
		{"two ways", Bundle{Name: "t", URL: "https://x/y", Auth: &Auth{Bearer: "a", ClientCert: "c", ClientKey: "k"}}, "more than one way"},
		{"half a certificate", Bundle{Name: "t", URL: "https://x/y", Auth: &Auth{ClientCert: "c"}}, "needs its key"},
		{"oci without a folder", Bundle{Name: "t", URL: "oci://x/y:1"}, "directory"},
		{"algorithm", Bundle{Name: "t", URL: "x", Signing: &Signing{KeyID: "k", PublicKey: "p", Algorithm: "none"}}, "algorithm"},
		{"no key", Bundle{Name: "t", URL: "x", Signing: &Signing{}}, "key id"},
		{"local auth", Bundle{Name: "t", URL: "x", Auth: &Auth{Bearer: "a"}}, "no meaning"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := New(t.Context(), Config{Bundles: []Bundle{c.bundle}})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "p4ss") {
				t.Error("the error tells the password")
			}
		})
	}
}
