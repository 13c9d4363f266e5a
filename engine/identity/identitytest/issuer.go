package identitytest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Key is one signing key of an issuer.
type Key struct {
	KID     string
	Alg     string
	Private crypto.Signer
}

// NewKey makes a key for RS256, PS256, ES256 or EdDSA.
func NewKey(t testing.TB, kid, alg string) *Key {
	t.Helper()
	var private crypto.Signer
	var err error
	switch alg {
	case "ES256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "EdDSA":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &Key{KID: kid, Alg: alg, Private: private}
}

// JWK returns the public key as JSON.
func (k *Key) JWK() json.RawMessage {
	raw, err := jose.JSONWebKey{Key: k.Private.Public(), KeyID: k.KID, Algorithm: k.Alg, Use: "sig"}.MarshalJSON()
	if err != nil {
		panic(err)
	}
	return raw
}

// Issuer is a running issuer. Its methods are safe for concurrent use.
type Issuer struct {
	// URL is the issuer's iss, on loopback.
	URL string
	// CAFile is a PEM file with the authority of NewTLS's certificate.
	CAFile string

	t  testing.TB
	mu sync.Mutex
	// all below under mu
	keys     []*Key
	extra    []json.RawMessage
	document []byte
	inactive map[string]bool // by token

	down       atomic.Bool
	keyFetches atomic.Int64
	discovered atomic.Int64
	asked      atomic.Int64
}

// New starts an issuer with one ES256 key, "k1", on http. It ends with the
// test.
func New(t testing.TB) *Issuer {
	t.Helper()
	return start(t, (*httptest.Server).Start)
}

// NewTLS is New on https, with a certificate that only CAFile vouches for.
func NewTLS(t testing.TB) *Issuer {
	t.Helper()
	var certificate []byte
	i := start(t, func(s *httptest.Server) {
		s.StartTLS()
		certificate = s.Certificate().Raw
	})
	i.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(i.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), 0o600); err != nil {
		t.Fatal(err)
	}
	return i
}

func start(t testing.TB, serve func(*httptest.Server)) *Issuer {
	t.Helper()
	i := &Issuer{t: t, keys: []*Key{NewKey(t, "k1", "ES256")}, inactive: map[string]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		i.discovered.Add(1)
		writeJSON(w, map[string]any{
			"issuer": i.URL, "jwks_uri": i.URL + "/keys", "introspection_endpoint": i.URL + "/introspect",
			"id_token_signing_alg_values_supported": []string{"RS256", "ES256"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		i.keyFetches.Add(1)
		_, _ = w.Write(i.jwks())
	})
	mux.HandleFunc("POST /introspect", func(w http.ResponseWriter, r *http.Request) {
		i.asked.Add(1)
		if id, secret, ok := r.BasicAuth(); !ok || id != "regate" || secret != "s3cret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		i.mu.Lock()
		defer i.mu.Unlock()
		writeJSON(w, map[string]any{"active": !i.inactive[r.PostFormValue("token")]})
	})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if i.down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	// Refused handshakes are what some tests are about.
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	serve(server)
	t.Cleanup(server.Close)
	i.URL = server.URL
	return i
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (i *Issuer) jwks() []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.document != nil {
		return i.document
	}
	list := slices.Clone(i.extra)
	for _, k := range i.keys {
		list = append(list, k.JWK())
	}
	raw, err := json.Marshal(map[string]any{"keys": list})
	if err != nil {
		panic(err)
	}
	return raw
}

// Key returns the key that Mint signs with: the last added.
func (i *Issuer) Key() *Key {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keys[len(i.keys)-1]
}

// AddKey publishes a key and makes it the one that Mint signs with.
func (i *Issuer) AddKey(k *Key) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append(i.keys, k)
}

// Withdraw stops publishing a key.
func (i *Issuer) Withdraw(kid string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = slices.DeleteFunc(i.keys, func(k *Key) bool { return k.KID == kid })
}

// AddJWK publishes any JSON among the keys.
func (i *Issuer) AddJWK(raw string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.extra = append(i.extra, json.RawMessage(raw))
}

// SetDocument replaces the whole document of keys; nil undoes it.
func (i *Issuer) SetDocument(raw []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.document = raw
}

// SetDown makes every address answer 503.
func (i *Issuer) SetDown(down bool) { i.down.Store(down) }

// Deactivate makes introspection say that the token is not active.
func (i *Issuer) Deactivate(token string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.inactive[token] = true
}

// KeyFetches, Discoveries and Introspections count requests.
func (i *Issuer) KeyFetches() int64     { return i.keyFetches.Load() }
func (i *Issuer) Discoveries() int64    { return i.discovered.Load() }
func (i *Issuer) Introspections() int64 { return i.asked.Load() }

// Claims returns good claims for an audience, valid for five minutes from now,
// changed by those given: a nil value takes a claim out.
func (i *Issuer) Claims(audience string, now time.Time, change map[string]any) map[string]any {
	claims := map[string]any{
		"iss": i.URL, "sub": "agent-1", "aud": audience, "client_id": "client-1", "jti": fmt.Sprintf("jti-%d", now.UnixNano()),
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "groups": []string{"analysts"}, "scope": "db:read",
	}
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return claims
}

// Mint signs claims as an RFC 9068 access token with the current key.
func (i *Issuer) Mint(claims map[string]any) string {
	k := i.Key()
	return k.Sign(i.t, map[string]any{"alg": k.Alg, "typ": "at+jwt", "kid": k.KID}, claims)
}

// Sign signs claims under exactly this header, with the key's own algorithm
// whatever the header says. claims may be a map or a ready []byte.
func (k *Key) Sign(t testing.TB, header map[string]any, claims any) string {
	t.Helper()
	return k.SignRaw(t, Encode(t, header), Encode(t, claims))
}

// SignRaw signs a header and claims that are encoded already.
func (k *Key) SignRaw(t testing.TB, header, claims string) string {
	t.Helper()
	signing := header + "." + claims
	return signing + "." + base64.RawURLEncoding.EncodeToString(k.raw(t, []byte(signing)))
}

// raw signs bytes as RFC 7518 section 3 says.
func (k *Key) raw(t testing.TB, data []byte) []byte {
	t.Helper()
	sum := sha256.Sum256(data)
	var sig []byte
	var err error
	switch private := k.Private.(type) {
	case *ecdsa.PrivateKey:
		var r, s *big.Int
		if r, s, err = ecdsa.Sign(rand.Reader, private, sum[:]); err == nil {
			sig = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		}
	case ed25519.PrivateKey:
		sig = ed25519.Sign(private, data)
	case *rsa.PrivateKey:
		if k.Alg == "PS256" {
			sig, err = rsa.SignPSS(rand.Reader, private, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			sig, err = rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, sum[:])
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// Encode returns the base64url of v's JSON, or of v itself when it is a []byte.
func Encode(t testing.TB, v any) string {
	t.Helper()
	raw, ok := v.([]byte)
	if !ok {
		var err error
		if raw, err = json.Marshal(v); err != nil {
			t.Fatal(err)
		}
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}
