package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ociRegistry serves one image whose only layer is a bundle, as `oras push` of
// one would leave it.
func ociRegistry(t *testing.T, body []byte) (host, caFile string) {
	t.Helper()
	digest := func(b []byte) string {
		sum := sha256.Sum256(b)
		return "sha256:" + hex.EncodeToString(sum[:])
	}
	blobs := map[string][]byte{}
	add := func(mediaType string, b []byte) map[string]any {
		blobs[digest(b)] = b
		return map[string]any{"mediaType": mediaType, "digest": digest(b), "size": len(b)}
	}
	const manifestType = "application/vnd.oci.image.manifest.v1+json"
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": manifestType,
		"config": add("application/vnd.oci.image.config.v1+json", []byte("{}")),
		"layers": []any{add("application/vnd.oci.image.layer.v1.tar+gzip", body)},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, pass, ok := r.BasicAuth(); !ok || user != "robot" || pass != "s3cret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
		out, mediaType := blobs[name], "application/octet-stream"
		if strings.Contains(r.URL.Path, "/manifests/") {
			out, mediaType = manifest, manifestType
		}
		if out == nil || !strings.HasPrefix(r.URL.Path, "/v2/acme/policies/") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", mediaType)
		w.Header().Set("Docker-Content-Digest", digest(out))
		_, _ = w.Write(out)
	}))
	t.Cleanup(s.Close)
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return s.Listener.Addr().String(), caFile
}

func TestOCIBundle(t *testing.T) {
	engine := func(t *testing.T, body []byte) *Engine {
		host, ca := ociRegistry(t, body)
		return remoteEngine(t, Config{Dir: t.TempDir(), Bundles: []Bundle{{
			Name: "t", URL: "oci://" + host + "/acme/policies:v1", Polling: Polling{Min: time.Hour, Max: time.Hour},
			Auth: &Auth{CACert: ca, Bearer: "robot:s3cret", BearerScheme: "Basic"}, MaxBytes: 1 << 20,
		}}})
	}
	t.Run("good", func(t *testing.T) {
		e := engine(t, pack(t, allowFiles("one"), nil))
		if err := e.Ready(); err != nil {
			t.Fatal(err)
		}
		expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/one")
	})
	t.Run("path traversal", func(t *testing.T) {
		e := engine(t, traversal(t))
		if err := e.Ready(); err == nil || !strings.Contains(err.Error(), "leads out of the bundle") {
			t.Errorf("ready: %v", err)
		}
	})
}
