package policy

import (
	"archive/tar"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// badArchives are tarballs that must not come into force, whoever made them.
func badArchives(t *testing.T) map[string]struct {
	want string
	body []byte
} {
	manifest := func(tw *tar.Writer) {
		addFile(t, tw, "/.manifest", []byte(`{"revision":"bad","roots":["regate/policies/t"]}`))
	}
	evil := []byte(module("t.p", `allow contains {"id": "t.p/evil"} if true`))
	entry := func(h tar.Header) []byte {
		return tarball(t, func(tw *tar.Writer) {
			manifest(tw)
			if err := tw.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
		})
	}
	named := func(names ...string) []byte {
		return tarball(t, func(tw *tar.Writer) {
			manifest(tw)
			for _, name := range names {
				addFile(t, tw, name, evil)
			}
		})
	}
	rego := func(text string) []byte {
		return tarball(t, func(tw *tar.Writer) {
			manifest(tw)
			addFile(t, tw, "/p.rego", []byte(text))
		})
	}
	data := func(name, text string) []byte {
		return tarball(t, func(tw *tar.Writer) {
			addFile(t, tw, "/.manifest", []byte(`{"roots":["regate/policies/t","x"]}`))
			addFile(t, tw, "/p.rego", evil)
			addFile(t, tw, name, []byte(text))
		})
	}
	good := named("/p.rego")
	return map[string]struct {
		want string
		body []byte
	}{
		"syntax":              {"rego_parse_error", rego("package regate.policies.t.p\n\nallow contains {")},
		"type":                {"rego_type_error", rego(module("t.p", `deny contains {"id": "x"} if input.action.verb == 3`))},
		"missing entrypoint":  {"has none of the rules", rego(module("t.p", "helper if true"))},
		"cyclic":              {"rego_recursion_error", rego(module("t.p", "allow contains {\"id\": \"t.p/x\"} if a\na if b\nb if a"))},
		"not UTF-8":           {"not UTF-8", rego("package regate.policies.t.p\n\nallow contains {\"id\": \"t.p/\xff\"} if true")},
		"data not UTF-8":      {"not UTF-8", data("/x/data.json", "{\"a\": \"\xc3\x28\"}")},
		"name not UTF-8":      {"leads out of the bundle", named("/p\xff.rego")},
		"traversal":           {"leads out of the bundle", named("../p.rego")},
		"deep traversal":      {"leads out of the bundle", named("/a/b/../../../p.rego")},
		"windows traversal":   {"leads out of the bundle", named(`..\p.rego`)},
		"symbolic link":       {"neither a file nor a folder", entry(tar.Header{Name: "p.rego", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink})},
		"hard link":           {"neither a file nor a folder", entry(tar.Header{Name: "p.rego", Linkname: ".manifest", Typeflag: tar.TypeLink})},
		"device":              {"neither a file nor a folder", entry(tar.Header{Name: "p.rego", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 5})},
		"pipe":                {"neither a file nor a folder", entry(tar.Header{Name: "p.rego", Typeflag: tar.TypeFifo})},
		"twice":               {"is there twice", named("/p.rego", "/p.rego")},
		"twice by other ways": {"is there twice", named("/p.rego", "./p.rego")},
		"two manifests":       {"is there twice", tarball(t, func(tw *tar.Writer) { manifest(tw); manifest(tw); addFile(t, tw, "/p.rego", evil) })},
		"bomb":                {"larger than allowed", tarball(t, func(tw *tar.Writer) { manifest(tw); addFile(t, tw, "/p.rego", make([]byte, 8<<20)) })},
		"too many files": {"larger than allowed", tarball(t, func(tw *tar.Writer) {
			for i := range maxArchiveFiles + 1 {
				addFile(t, tw, fmt.Sprintf("/%d.txt", i), nil)
			}
		})},
		"cut off":             {"read archive", good[:len(good)/2]},
		"cut off at the end":  {"read archive", good[:len(good)-6]},
		"not gzip":            {"read archive", []byte("PK\x03\x04")},
		"aliases without end": {"", data("/x/data.yaml", "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n")},
		"nested without end":  {"", data("/x/data.json", `{"a":`+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)+"}")},
		"deep expression":     {"", rego("package regate.policies.t.p\n\nx := " + strings.Repeat("[", 200_000) + strings.Repeat("]", 200_000))},
		"data outside":        {"do not permit", data("/regate/other/data.json", `{"a":1}`)},
		"another's package":   {"do not permit", rego(module("u.p", allowAll))},
	}
}

// Each bad bundle, over HTTP and from a file: it is refused, the last good one
// stays in force, and nothing of it is kept in memory, as a goroutine or as a
// file.
func TestBadArchives(t *testing.T) {
	s := newBundleServer(t, pack(t, allowFiles("good"), nil))
	file := filepath.Join(t.TempDir(), "t.tar.gz")
	if err := os.WriteFile(file, s.body, 0o600); err != nil {
		t.Fatal(err)
	}
	remote := remoteConfig(s.URL + "/t.tar.gz")
	remote.Bundles[0].MaxBytes, remote.Dir = 4<<20, t.TempDir()
	engines := map[string]*Engine{
		"remote": remoteEngine(t, remote),
		"file":   newEngine(t, Config{Bundles: []Bundle{{Name: "t", URL: file, MaxBytes: 4 << 20}}}),
	}
	all := badArchives(t)
	feed := func(t *testing.T, body []byte) {
		t.Helper()
		s.set(body, http.StatusOK)
		if err := os.WriteFile(file, body, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, e := range engines {
			refresh(t, e)
		}
	}
	for name, c := range all {
		t.Run(name, func(t *testing.T) {
			feed(t, c.body)
			for from, e := range engines {
				b := e.Status().Bundles[0]
				if problems := strings.Join(b.Errors, "\n"); problems == "" || !strings.Contains(problems, c.want) {
					t.Errorf("%s: problems %.500q, want %q", from, problems, c.want)
				}
				if b.State != stateStale || b.Revision != "good" {
					t.Errorf("%s: %+v", from, b)
				}
				expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/good")
			}
		})
	}
	// Over and over, and nothing grows.
	feed(t, all["syntax"].body)
	before := use(t)
	for range 3 {
		for _, name := range []string{"syntax", "bomb", "twice", "cut off", "missing entrypoint", "symbolic link"} {
			feed(t, all[name].body)
		}
	}
	after := use(t)
	if after.goroutines > before.goroutines+10 || after.files > before.files+10 || after.heap > before.heap+(32<<20) {
		t.Errorf("from %+v to %+v", before, after)
	}
	feed(t, pack(t, allowFiles("better"), nil))
	for _, e := range engines {
		expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/better")
	}
}

// usage is what must not grow.
type usage struct {
	goroutines, files int
	heap              uint64
}

func use(t *testing.T) usage {
	t.Helper()
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Log("open files are not counted on this system:", err)
	}
	return usage{runtime.NumGoroutine(), len(files), m.HeapAlloc}
}

// A folder may hold what an archive may not.
func TestBadFolders(t *testing.T) {
	outside := folder(t, map[string]string{"secret.json": `{"x": 1}`})
	for _, c := range []struct {
		name, want string
		make       func(dir string) error
	}{
		{"link out of it", "link out of the bundle", func(dir string) error { return os.Symlink(outside+"/secret.json", dir+"/data.json") }},
		{"relative link out of it", "link out of the bundle", func(dir string) error { return os.Symlink("../../../../../../etc/passwd", dir+"/data.json") }},
		{"link to nothing", "no such file", func(dir string) error { return os.Symlink("nothing", dir+"/data.json") }},
		{"link to itself", "too many links", func(dir string) error { return os.Symlink("data.json", dir+"/data.json") }},
		{"folder behind a link", "link to a folder", func(dir string) error {
			return errors.Join(os.Mkdir(dir+"/sub", 0o700), os.Symlink("sub", dir+"/more"))
		}},
		{"pipe", "neither a file nor a folder", func(dir string) error { return syscall.Mkfifo(dir+"/data.json", 0o600) }},
		{"socket", "neither a file nor a folder", func(dir string) error {
			l, err := net.Listen("unix", dir+"/data.json")
			if err == nil {
				t.Cleanup(func() { _ = l.Close() })
			}
			return err
		}},
		{"not UTF-8", "not UTF-8", func(dir string) error { return os.WriteFile(dir+"/q.rego", []byte("package x # \xff"), 0o600) }},
		{"too large", "larger than allowed", func(dir string) error { return os.WriteFile(dir+"/data.json", make([]byte, 2<<20), 0o600) }},
		{"no right to read", "permission denied", func(dir string) error {
			if os.Getuid() == 0 {
				return os.Symlink("/proc/1/mem", dir+"/data.json") // root may read anything; this ends out of it
			}
			return os.WriteFile(dir+"/q.rego", nil, 0)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := folder(t, allowFiles("good"))
			e := newEngine(t, Config{Bundles: []Bundle{{Name: "t", URL: dir, MaxBytes: 1 << 20}}})
			if err := c.make(dir); err != nil {
				t.Fatal(err)
			}
			refresh(t, e)
			want := c.want
			if c.name == "no right to read" && os.Getuid() == 0 {
				want = "link out of the bundle"
			}
			if problems := strings.Join(e.Status().Bundles[0].Errors, "\n"); !strings.Contains(problems, want) {
				t.Errorf("problems %q, want %q", problems, want)
			}
			expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/good")
		})
	}
}

// A bundle server that never ends, that sends a byte now and then, or that sends
// for ever is given up; the last good bundle stays, and Close waits for nobody.
func TestBundleServersThatNeverEnd(t *testing.T) {
	good := pack(t, allowFiles("good"), nil)
	for _, c := range []struct {
		name, want string
		serve      func(w http.ResponseWriter, r *http.Request)
	}{
		{"no answer", "deadline exceeded", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
		{"slow", "deadline exceeded", func(w http.ResponseWriter, r *http.Request) {
			for i := 0; r.Context().Err() == nil; i++ {
				_, _ = w.Write(good[i%10 : i%10+1])
				w.(http.Flusher).Flush()
				time.Sleep(time.Millisecond)
			}
		}},
		{"without end", "larger than allowed", func(w http.ResponseWriter, r *http.Request) {
			for chunk := make([]byte, 64<<10); r.Context().Err() == nil; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}},
		{"less than it said", "EOF", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(good)))
			_, _ = w.Write(good[:len(good)/2])
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var bad atomic.Bool
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if bad.Load() {
					c.serve(w, r)
					return
				}
				_, _ = w.Write(good)
			}))
			t.Cleanup(s.Close)
			cfg := remoteConfig(s.URL + "/t.tar.gz")
			cfg.Bundles[0].Polling.Timeout, cfg.Bundles[0].MaxBytes = time.Second, 1<<20
			e := remoteEngine(t, cfg)
			if err := e.Ready(); err != nil {
				t.Fatal(err)
			}
			bad.Store(true)
			for end := time.Now().Add(time.Minute); time.Now().Before(end); {
				refresh(t, e)
				if len(e.Status().Bundles[0].Errors) > 0 {
					break
				}
			}
			if problems := strings.Join(e.Status().Bundles[0].Errors, "\n"); !strings.Contains(problems, c.want) {
				t.Errorf("problems %q, want %q", problems, c.want)
			}
			expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/good")
		})
	}
}

// A bundle that changes between good and bad while requests are decided: every
// decision is that of a good one, and nothing grows.
func TestABundleThatFlips(t *testing.T) {
	dir := folder(t, allowFiles("a"))
	e := newEngine(t, Config{Bundles: []Bundle{{Name: "t", URL: dir}}})
	stop := make(chan struct{})
	var deciding sync.WaitGroup
	var wrong atomic.Value
	for range 2 {
		deciding.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if r := e.Evaluate(t.Context(), selectDoc()); r.Effect != Allow || reasonIDs(r) != "t.p/a" && reasonIDs(r) != "t.p/b" {
					wrong.Store(show(r))
				}
				time.Sleep(time.Millisecond) // the loader needs the machine, too
			}
		})
	}
	versions := []string{"a", "bad", "b", "worse"}
	flip := func(times int) {
		for i := range times {
			files := allowFiles("a")
			switch versions[i%len(versions)] {
			case "b":
				files = allowFiles("b")
			case "bad":
				files["p.rego"] = "package regate.policies.t.p\n\nallow contains {"
			case "worse":
				files["p.rego"] = module("t.p", "helper if true")
			}
			writeFolder(t, dir, files)
			refresh(t, e)
		}
	}
	flip(12)
	before := use(t)
	flip(40)
	after := use(t)
	close(stop)
	deciding.Wait()
	if w := wrong.Load(); w != nil {
		t.Errorf("a decision of neither: %s", w)
	}
	if after.goroutines > before.goroutines+5 || after.files > before.files+5 || after.heap > before.heap+(32<<20) {
		t.Errorf("from %+v to %+v", before, after)
	}
}

// A bundle that passes every check and takes for ever to evaluate denies, with
// its own reason; it does not hold anything else up, and a better one heals it.
func TestABundleThatTimesOut(t *testing.T) {
	dir := folder(t, allowFiles("a"))
	e := newEngine(t, Config{Timeout: 300 * time.Millisecond, Bundles: []Bundle{{Name: "t", URL: dir}}})
	writeFolder(t, dir, map[string]string{"p.rego": module("t.p", `allow contains {"id": "t.p/all"} if true

deny contains {"id": "t.p/slow"} if {
	some a in numbers.range(1, 3000)
	some b in numbers.range(1, 3000)
	some c in numbers.range(1, 3000)
	a * b * c == -1
	input.action.verb == "select"
}`)})
	refresh(t, e)
	expect(t, e.Evaluate(t.Context(), selectDoc()), Deny, ReasonTimeout)
	writeFolder(t, dir, allowFiles("b"))
	refresh(t, e)
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if r := e.Evaluate(t.Context(), selectDoc()); r.Effect == Allow {
			return
		}
	}
	t.Error("it does not heal")
}

// TestNoBundleAtAll holds that what is neither a file nor a folder is refused,
// and not waited for.
func TestNoBundleAtAll(t *testing.T) {
	pipe := t.TempDir() + "/bundle.tar.gz"
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, "/dev/zero"} {
		for _, o := range []SetOptions{{Paths: []string{path}}, {Bundles: []Bundle{{Name: "t", Paths: []string{path}}}}} {
			if _, err := LoadSet(t.Context(), o); err == nil || !strings.Contains(err.Error(), "neither a file nor a folder") {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
}
