package policy

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The layers of images that are not the latest do not fill the disk.
func TestOldLayersAreRemoved(t *testing.T) {
	dir := t.TempDir()
	blobs := filepath.Join(dir, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		file := filepath.Join(blobs, fmt.Sprint(i))
		if err := os.WriteFile(file, make([]byte, 100), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, time.Time{}, time.Unix(int64(1000+i), 0)); err != nil {
			t.Fatal(err)
		}
	}
	if err := pruneLayers(dir, 350); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(blobs)
	if err != nil || len(left) != 3 || left[0].Name() != "7" {
		t.Errorf("left %v, %v", left, err)
	}
	if err := pruneLayers(filepath.Join(dir, "none"), 1); err != nil {
		t.Error(err)
	}
}

// At a registry whose image changes all the time, too, and the last good bundle
// stays.
func TestLayersOfARegistryAreBounded(t *testing.T) {
	body := pack(t, allowFiles("one"), nil)
	host, ca := ociRegistry(t, body)
	cfg := Config{Dir: t.TempDir(), Bundles: []Bundle{{
		Name: "t", URL: "oci://" + host + "/acme/policies:v1", Polling: Polling{Min: time.Hour, Max: time.Hour},
		Auth: &Auth{CACert: ca, Bearer: "robot:s3cret", BearerScheme: "Basic"}, MaxBytes: 1 << 20,
	}}}
	e := remoteEngine(t, cfg)
	store := e.ociStore()
	if _, err := os.Stat(filepath.Join(store, "blobs")); err != nil {
		t.Fatalf("the layers are elsewhere: %v", err)
	}
	old, made := filepath.Join(store, "blobs", "sha256", "old"), filepath.Join(cfg.Dir, "old")
	if err := os.WriteFile(made, make([]byte, 5<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(made, time.Time{}, time.Unix(1000, 0)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(made, old); err != nil { // as a whole: it may be looked at any time
		t.Fatal(err)
	}
	reload(t, e)
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("an old layer is kept: %v", err)
	}
	expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/one")
}
