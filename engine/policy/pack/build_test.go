package pack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regate-dev/regate/engine/policy"
)

func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const shop = `package regate.policies.acme.shop

import data.regate.settings.shop

allow contains {"id": "acme.shop/read"} if {
	input.action.verb in shop.verbs
}
`

const shopTest = `package regate.policies.acme.shop_test

import data.regate.policies.acme.shop

test_reads if {
	count(shop.allow) == 1 with input as {"action": {"verb": "select"}}
}
`

func shopFiles() map[string]string {
	return map[string]string{
		".manifest":                      `{"revision": "r1", "roots": ["regate/settings/shop", "regate/policies/acme"], "metadata": {"team": "shop"}}`,
		"shop.rego":                      shop,
		"shop_test.rego":                 shopTest,
		"regate/settings/shop/data.json": `{"verbs": ["select", "explain"], "limit": 1.50}`,
		"README.md":                      "not a policy",
		".regal/config.yaml":             "rules: {}",
	}
}

func keyPEM(t *testing.T, alg string) (private []byte, public string) {
	t.Helper()
	var key any
	var pub any
	switch alg {
	case "RS256":
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		key, pub = k, k.Public()
	default:
		curve := map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}[alg]
		k, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		key, pub = k, k.Public()
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pubDER, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pubDER}))
}

func build(t *testing.T, o Options) *Built {
	t.Helper()
	b, err := Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The same input gives the same bytes: in another folder, with other times,
// owners and rights, in another order on disk, signed too.
func TestTheSameBytes(t *testing.T) {
	for _, alg := range []string{"", "RS256", "ES256", "ES384", "ES512"} {
		t.Run("alg "+alg, func(t *testing.T) {
			n := int64(7)
			o := Options{Paths: []string{folder(t, shopFiles())}, Sequence: &n, Tests: true}
			if alg != "" {
				private, _ := keyPEM(t, alg)
				key, err := ParseKey(private, "release", "", "write")
				if err != nil {
					t.Fatal(err)
				}
				if key.Algorithm != alg {
					t.Errorf("algorithm %s for a key for %s", key.Algorithm, alg)
				}
				o.Key = key
			}
			one := build(t, o)
			other := folder(t, map[string]string{"zzz.txt": "x"})
			for _, name := range []string{"shop_test.rego", "regate/settings/shop/data.json", "shop.rego", ".manifest"} {
				file := filepath.Join(other, name)
				if err := errors.Join(
					os.MkdirAll(filepath.Dir(file), 0o700),
					os.WriteFile(file, []byte(shopFiles()[name]), 0o600),
					os.Chtimes(file, time.Unix(1, 0), time.Unix(1, 0)),
				); err != nil {
					t.Fatal(err)
				}
			}
			o.Paths = []string{other}
			two := build(t, o)
			if !bytes.Equal(one.Archive, two.Archive) || one.SHA256 != two.SHA256 {
				t.Error("the bytes differ")
			}
			if one.Digest == "" || one.Digest != two.Digest {
				t.Errorf("digests %q and %q", one.Digest, two.Digest)
			}
			zr, err := gzip.NewReader(bytes.NewReader(one.Archive))
			if err != nil {
				t.Fatal(err)
			}
			if !zr.ModTime.IsZero() || zr.Name != "" || zr.OS != 255 {
				t.Errorf("gzip header %+v", zr.Header)
			}
			tr := tar.NewReader(zr)
			var names []string
			for {
				h, err := tr.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if h.ModTime.Unix() != 0 || h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" || h.Mode != 0o600 {
					t.Errorf("header %+v", h)
				}
				names = append(names, h.Name)
			}
			want := "/data.json /shop.rego /shop_test.rego /.manifest"
			if alg != "" {
				want = "/data.json /shop.rego /shop_test.rego /.signatures.json /.manifest"
			}
			if got := strings.Join(names, " "); got != want {
				t.Errorf("files %s, want %s", got, want)
			}
		})
	}
}

// A gateway takes what was built, by the signature too, and knows its place in
// the order.
func TestAGatewayTakesIt(t *testing.T) {
	private, public := keyPEM(t, "ES256")
	key, err := ParseKey(private, "release", "", "")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "b.tar.gz")
	start := func(sequence int64) (*policy.Engine, *Built) {
		t.Helper()
		b := build(t, Options{Paths: []string{folder(t, shopFiles())}, Revision: "v2", Sequence: &sequence, Key: key})
		if err := os.WriteFile(file, b.Archive, 0o600); err != nil {
			t.Fatal(err)
		}
		return nil, b
	}
	_, built := start(4)
	e, err := policy.New(t.Context(), policy.Config{Dir: t.TempDir(), Bundles: []policy.Bundle{{
		Name: "shop", URL: file, Signing: &policy.Signing{KeyID: "release", PublicKey: public, Algorithm: "ES256"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	if err := e.Ready(); err != nil {
		t.Fatal(err)
	}
	got := e.Status().Bundles[0]
	if got.Revision != "v2" || got.Digest != built.Digest {
		t.Errorf("in force %s %s, built %s %s", got.Revision, got.Digest, built.Revision, built.Digest)
	}
	start(3)
	if err := e.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(e.Status().Bundles[0].Errors, "\n"); !strings.Contains(all, "is older than") {
		t.Errorf("problems %q", all)
	}
}

// What a gateway would refuse is not built.
func TestRefused(t *testing.T) {
	change := func(name, text string) []string {
		files := shopFiles()
		files[name] = text
		return []string{folder(t, files)}
	}
	lib := folder(t, map[string]string{".manifest": `{"roots": ["lib"]}`, "lib.rego": "package lib\n\nyes(x) if x == 1"})
	needsLib := change("shop.rego", "package regate.policies.acme.shop\n\nimport data.lib\n\nallow contains {\"id\": \"acme.shop/x\"} if lib.yes(1)")
	for _, c := range []struct {
		name, want string
		o          Options
	}{
		{"nothing", "no folder", Options{}},
		{"not there", "no such file", Options{Paths: []string{"/does/not/exist"}}},
		{"syntax", "shop.rego:3: rego_parse_error", Options{Paths: change("shop.rego", "package regate.policies.acme.shop\n\nallow contains {")}},
		{"schema", "shop.rego:3: rego_type_error", Options{Paths: change("shop.rego", "package regate.policies.acme.shop\n\nallow contains {\"id\": \"x\"} if input.action.verbb == \"x\"")}},
		{"no entry", "has none of the rules", Options{Paths: change("shop.rego", "package regate.policies.acme.shop\n\nx := 1")}},
		{"outside of the roots", "do not permit", Options{Paths: change("more.rego", "package other\n\nx := 1")}},
		{"a sequence of another kind", "is not a number", Options{Paths: change(".manifest", `{"roots":["regate"],"metadata":{"regate":{"sequence":"7"}}}`)}},
		{"overlapping roots", "overlaps with", Options{Paths: []string{lib, folder(t, map[string]string{".manifest": `{"roots": ["lib/x"]}`})}}},
		{"what it needs is missing", "undefined function data.lib.yes", Options{Paths: needsLib}},
		{"too large", "larger than allowed", Options{Paths: change("data.json", `{"regate":{"settings":{"shop":{"x":"`+strings.Repeat("x", 5000)+`"}}}}`), MaxBytes: 4096}},
		{"WebAssembly", "WebAssembly", Options{Paths: change("policy.wasm", "\x00asm")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Build(t.Context(), c.o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	b := build(t, Options{Paths: needsLib, With: []string{lib}})
	if len(b.Roots) != 2 {
		t.Errorf("roots %v", b.Roots)
	}
	both := build(t, Options{Paths: append(needsLib, lib)})
	if got := strings.Join(both.Roots, " "); got != "lib regate/policies/acme regate/settings/shop" {
		t.Errorf("roots %s", got)
	}
}

func TestKeys(t *testing.T) {
	rs, _ := keyPEM(t, "RS256")
	es, _ := keyPEM(t, "ES256")
	for _, c := range []struct {
		name, id, alg, want string
		key                 []byte
	}{
		{"no id", "", "", "id is missing", rs},
		{"not PEM", "k", "", "not PEM", []byte("secret")},
		{"public", "k", "", "not a private key", []byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")},
		{"random by design", "k", "PS256", "not one of", rs},
		{"HMAC", "k", "HS256", "not one of", rs},
		{"another kind", "k", "ES256", "needs an elliptic curve", rs},
		{"another curve", "k", "ES384", "does not fit", es},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := ParseKey(c.key, c.id, c.alg, ""); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// opa runs stock opa at the version that is pinned for this repository.
func opa(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	args = append([]string{"tool", "-modfile=" + filepath.Join("..", "..", "..", ".tools", "go.mod"), "opa"}, args...)
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Stock opa inspects, verifies, tests and evaluates what was built.
func TestStockOPATakesIt(t *testing.T) {
	for _, alg := range []string{"RS256", "ES512"} {
		t.Run(alg, func(t *testing.T) {
			private, public := keyPEM(t, alg)
			_, stranger := keyPEM(t, alg)
			dir := t.TempDir()
			good, bad, file := filepath.Join(dir, "key.pub"), filepath.Join(dir, "other.pub"), filepath.Join(dir, "b.tar.gz")
			key, err := ParseKey(private, "release", "", "write")
			if err != nil {
				t.Fatal(err)
			}
			n := int64(12)
			b := build(t, Options{Paths: []string{folder(t, shopFiles())}, Tests: true, Sequence: &n, Key: key})
			if err := errors.Join(os.WriteFile(good, []byte(public), 0o600), os.WriteFile(bad, []byte(stranger), 0o600), os.WriteFile(file, b.Archive, 0o600)); err != nil {
				t.Fatal(err)
			}
			if out, err := opa(t, "", "inspect", file); err != nil || !strings.Contains(out, "r1") || !strings.Contains(out, "sequence") {
				t.Errorf("inspect: %v\n%s", err, out)
			}
			if out, err := opa(t, "", "test", "-b", file); err != nil || !strings.Contains(out, "PASS: 1/1") {
				t.Errorf("test: %v\n%s", err, out)
			}
			run := func(key string) (string, error) {
				return opa(t, `data.regate.policies.acme.shop.allow with input as {"action": {"verb": "select"}}`+"\n",
					"run", "-b", file, "--verification-key", key, "--verification-key-id", "release", "--signing-alg", alg, "--scope", "write", "--disable-telemetry")
			}
			if out, err := run(good); err != nil || !strings.Contains(out, "acme.shop/read") {
				t.Errorf("run: %v\n%s", err, out)
			}
			if out, err := run(bad); err == nil || !strings.Contains(out, "verif") {
				t.Errorf("run with another key: %v\n%s", err, out)
			}
		})
	}
}

func TestNothingIsNoBundle(t *testing.T) {
	if _, err := Build(t.Context(), Options{Paths: []string{t.TempDir()}}); err == nil || !strings.Contains(err.Error(), "there is no policy") {
		t.Errorf("an empty folder: %v", err)
	}
}
