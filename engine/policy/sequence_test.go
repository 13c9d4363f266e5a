package policy

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sequenced is a bundle that allows as t.p/<id>. A negative sequence leaves the
// bundle unordered.
func sequenced(id string, sequence int) map[string]string {
	files := allowFiles(id)
	if sequence >= 0 {
		files[".manifest"] = fmt.Sprintf(`{"revision":%q,"roots":["regate/policies/t"],"metadata":{"regate":{"sequence":%d}}}`, id, sequence)
	}
	return files
}

// An older revision is not put in force, by whatever way it comes: the last good
// one stays. The order outlives a restart.
func TestOlderRevisionsAreRefused(t *testing.T) {
	s := newBundleServer(t, pack(t, sequenced("five", 5), nil))
	cfg := remoteConfig(s.URL + "/t.tar.gz")
	cfg.Dir = t.TempDir()
	e := remoteEngine(t, cfg)
	expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/five")

	refused := func(e *Engine, inForce, want string) {
		t.Helper()
		reload(t, e)
		b := e.Status().Bundles[0]
		if all := strings.Join(b.Errors, "\n"); !strings.Contains(all, want) {
			t.Errorf("got %q, want %q", all, want)
		}
		expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/"+inForce)
	}
	s.set(pack(t, sequenced("four", 4), nil), http.StatusOK)
	refused(e, "five", `revision "four", sequence 4, is older than revision "five", sequence 5`)
	s.set(pack(t, sequenced("none", -1), nil), http.StatusOK)
	refused(e, "five", `revision "none" has no sequence`)
	s.set(pack(t, sequenced("again", 5), nil), http.StatusOK)
	reload(t, e)
	expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/again")
	s.set(pack(t, sequenced("nine", 9), nil), http.StatusOK)
	reload(t, e)
	expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/nine")
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}

	// After a restart, and also as the first thing that is loaded.
	s.set(pack(t, sequenced("eight", 8), nil), http.StatusOK)
	e = remoteEngine(t, cfg)
	refused(e, "nine", "is older than")
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(cfg.Dir, "bundles")); err != nil {
		t.Fatal(err)
	}
	e = remoteEngine(t, cfg)
	expect(t, e.Evaluate(t.Context(), selectDoc()), Deny, "engine/no-bundle")
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}

	// Where it is said, it is taken, and is then the newest that counts.
	cfg.Bundles[0].AllowRollback = true
	e = remoteEngine(t, cfg)
	expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/eight")
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg.Bundles[0].AllowRollback = false
	s.set(pack(t, sequenced("seven", 7), nil), http.StatusOK)
	e = remoteEngine(t, cfg)
	refused(e, "eight", "is older than")
}

// The paths of a bundle have an order each, whatever their place in the list.
func TestSequencesOfPaths(t *testing.T) {
	one, two := folder(t, sequenced("one", 7)), folder(t, map[string]string{
		".manifest": `{"roots":["regate/policies/u"],"metadata":{"regate":{"sequence":3}}}`, "p.rego": module("u.p", allowAll),
	})
	cfg := Config{Dir: t.TempDir(), Bundles: []Bundle{{Name: "t", Paths: []string{one, two}}}}
	e := newEngine(t, cfg)
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg.Bundles[0].Paths = []string{two, one}
	e = newEngine(t, cfg)
	writeFolder(t, two, map[string]string{".manifest": `{"roots":["regate/policies/u"],"metadata":{"regate":{"sequence":2}}}`})
	refresh(t, e)
	if all := strings.Join(e.Status().Bundles[0].Errors, "\n"); !strings.Contains(all, "sequence 2, is older than") {
		t.Errorf("got %q", all)
	}
	// `regate config check` sees it too, and leaves no trace.
	problems := cfg.CheckBundles(t.Context())
	if len(problems) == 0 || !strings.Contains(problems[0].Text, "is older than") {
		t.Errorf("problems %+v", problems)
	}
}

func TestSequenceMustBeOne(t *testing.T) {
	for _, c := range []struct{ metadata, want string }{
		{`{"regate":5}`, "is not an object"},
		{`{"regate":{"sequense":5}}`, `unknown key "sequense"`},
		{`{"regate":{"sequence":"5"}}`, "is not a number"},
		{`{"regate":{"sequence":-1}}`, "is not a whole number"},
		{`{"regate":{"sequence":1.5}}`, "is not a whole number"},
		{`{"regate":{"sequence":1e400}}`, "is not a whole number"},
	} {
		files := allowFiles("x")
		files[".manifest"] = `{"revision":"x","roots":["regate/policies/t"],"metadata":` + c.metadata + `}`
		e := startEngine(t, Config{Bundles: []Bundle{{Name: "t", URL: folder(t, files)}}})
		if err := e.Ready(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.metadata, err, c.want)
		}
	}
}

// What is remembered and cannot be read is not taken for nothing.
func TestDamagedSequencesStopTheStart(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), Bundles: []Bundle{{Name: "t", URL: folder(t, allowFiles("x"))}}}
	if err := os.WriteFile(filepath.Join(cfg.Dir, sequenceFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), sequenceFile) {
		t.Errorf("got %v", err)
	}
}

// What cannot be remembered is not put in force.
func TestSequenceThatCannotBeKept(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{Dir: dir, Bundles: []Bundle{{Name: "t", URL: folder(t, sequenced("one", 1))}}}
	e := newEngine(t, cfg)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	writeFolder(t, cfg.Bundles[0].URL, sequenced("two", 2))
	refresh(t, e)
	if all := strings.Join(e.Status().Bundles[0].Errors, "\n"); !strings.Contains(all, "remember the newest revisions") {
		t.Errorf("got %q", all)
	}
	expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/one")
}
