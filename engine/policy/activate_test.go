package policy

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regate-dev/regate/engine/input"
)

const allowAll = `allow contains {"id": "t.p/all"} if true`

// What a candidate may be wrong with. Each is refused with the place and the
// reason, and the bundle that was in force stays.
var badModules = []struct {
	name, file, want string
}{
	{"syntax error", "package regate.policies.t.p\n\nallow contains {", "p.rego:3: rego_parse_error"},
	{"type error", module("t.p", allowAll+"\nn := 1 + \"a\""), "p.rego:8: rego_type_error"},
	{"misspelt input", module("t.p", `deny contains {"id": "t.p/x"} if input.action.verbb == "drop"`), "undefined ref: input.action.verbb"},
	{"misspelt input without metadata", "package regate.policies.t.p\n\ndeny contains {\"id\": \"t.p/x\"} if input.acton.verb == \"drop\"", "undefined ref: input.acton"},
	{"wrong type in comparison", module("t.p", `deny contains {"id": "t.p/x"} if input.action.verb == 3`), "match error"},
	{"no entry", module("t.p", `helper if true`), "has none of the rules allow, deny"},
	{"misspelt entry", module("t.p", `denny contains {"id": "t.p/x"} if true`), "has none of the rules allow, deny"},
	{"package without owner", "package regate.policies.p\n\nallow contains {\"id\": \"x\"} if true", "want regate.policies.<owner>.<name>"},
	{"recursion", module("t.p", "allow contains {\"id\": \"t.p/x\"} if a\na if b\nb if a"), "rego_recursion_error"},
	{"http.send", module("t.p", `allow contains {"id": "t.p/x"} if http.send({"method": "get", "url": "http://x"}).status_code == 200`), "undefined function http.send"},
	{"opa.runtime", module("t.p", `allow contains {"id": "t.p/x"} if opa.runtime().env.X == "1"`), "undefined function opa.runtime"},
	{"rand", module("t.p", `allow contains {"id": "t.p/x"} if rand.intn("x", 2) == 1`), "undefined function rand.intn"},
	{"strict: unused variable", module("t.p", "allow contains {\"id\": \"t.p/x\"} if x := 1"), "assigned var x unused"},
	{"strict: unused import", "package regate.policies.t.p\n\nimport data.lib.x\n\nallow contains {\"id\": \"t.p/x\"} if true", "import data.lib.x unused"},
	{"complete deny", module("t.p", `deny := true if input.action.opaque`), "deny must be a set"},
	{"deny as function", module("t.p", allowAll+"\ndeny(x) if x"), "deny must be a set"},
	{"deny as object", module("t.p", allowAll+"\ndeny[x] := 1 if x := input.action.verb"), "deny must be a set"},
	{"allow below a name", module("t.p", allowAll+"\nmask.a contains {\"id\": \"x\"} if true"), "mask must be a set"},
	{"unknown schema", "# METADATA\n# scope: package\n# schemas:\n#   - input: schema.oracle\npackage regate.policies.t.p\n\n" + allowAll, "undefined schema: schema.oracle"},
	{"unknown mode", "# METADATA\n# scope: package\n# custom:\n#   regate: {mode: enforced}\npackage regate.policies.t.p\n\n" + allowAll, "mode: enforced is not enforce or shadow"},
	{"unknown metadata key", "# METADATA\n# scope: package\n# custom:\n#   regate: {protocol: [postgres]}\npackage regate.policies.t.p\n\n" + allowAll, `unknown key "protocol"`},
	{"unknown protocol", "# METADATA\n# scope: package\n# custom:\n#   regate: {protocols: [postgresql]}\npackage regate.policies.t.p\n\n" + allowAll, `"postgresql" is not known`},
	{"empty protocols", "# METADATA\n# scope: package\n# custom:\n#   regate: {protocols: []}\npackage regate.policies.t.p\n\n" + allowAll, "want a list of at least one string"},
	{"bad target pattern", "# METADATA\n# scope: package\n# custom:\n#   regate: {targets: ['a[']}\npackage regate.policies.t.p\n\n" + allowAll, "syntax error in pattern"},
	{"outside the roots", "package other.place\n\nx := 1", "do not permit 'package other.place'"},
	{"rego v0", "package regate.policies.t.p\n\nallow[x] { x := {\"id\": \"t.p/x\"} }", "rego_parse_error"},
}

func TestBadBundlesAreRefused(t *testing.T) {
	dir := folder(t, map[string]string{"p.rego": module("t.p", allowAll)})
	e := newEngine(t, Config{Bundles: []Bundle{{Name: "t", URL: dir}}})
	good := e.Status().Bundles[0]
	for _, c := range badModules {
		t.Run(c.name, func(t *testing.T) {
			writeFolder(t, dir, map[string]string{"p.rego": c.file})
			refresh(t, e)
			b := e.Status().Bundles[0]
			if all := strings.Join(b.Errors, "\n"); !strings.Contains(all, c.want) {
				t.Errorf("got problems\n%s\nwant %q", all, c.want)
			}
			if b.State != stateStale || b.Digest != good.Digest {
				t.Errorf("state %s, digest %s", b.State, b.Digest)
			}
			expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/all")
			if err := e.Ready(); err != nil {
				t.Errorf("not ready: %v", err)
			}
		})
	}
	writeFolder(t, dir, map[string]string{"p.rego": module("t.p", `allow contains {"id": "t.p/new"} if true`)})
	refresh(t, e)
	if b := e.Status().Bundles[0]; b.State != stateActive || b.Digest == good.Digest || len(b.Errors) > 0 {
		t.Errorf("after the repair: %+v", b)
	}
	expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/new")
}

// Each bad module alone, as the first thing that is loaded.
func TestBadBundleAtStartDeniesAll(t *testing.T) {
	dir := folder(t, map[string]string{"p.rego": "package regate.policies.t.p\n\nallow contains {"})
	e := startEngine(t, Config{Bundles: []Bundle{{Name: "t", URL: dir}}})
	expect(t, e.Evaluate(t.Context(), selectDoc()), Deny, "engine/no-bundle")
	if err := e.Ready(); err == nil || !strings.Contains(err.Error(), "p.rego:3") {
		t.Errorf("ready: %v", err)
	}
}

func TestEveryProblemIsListed(t *testing.T) {
	dir := folder(t, map[string]string{
		"a.rego": module("t.a", `deny contains {"id": "x"} if input.action.verbb == "drop"`),
		"b.rego": module("t.b", `helper if true`),
		"c.rego": module("t.c", `deny := 1`),
	})
	e := startEngine(t, Config{Bundles: []Bundle{{Name: "t", URL: dir}}})
	all := strings.Join(e.Status().Bundles[0].Errors, "\n")
	for _, want := range []string{dir + "/a.rego:7:", dir + "/b.rego:5:", dir + "/c.rego:7:"} {
		if !strings.Contains(all, want) {
			t.Errorf("no problem at %s in\n%s", want, all)
		}
	}
}

func TestNoBundleDeniesAll(t *testing.T) {
	e := startEngine(t, Config{})
	expect(t, e.Evaluate(t.Context(), selectDoc()), Deny, "engine/no-bundle")
	if e.Ready() == nil {
		t.Error("ready without a bundle")
	}
}

// A bundle that is not there yet may hold a deny: until all are, nothing is
// allowed.
func TestAMissingBundleDeniesAll(t *testing.T) {
	later := filepath.Join(t.TempDir(), "later")
	e := startEngine(t, Config{Bundles: []Bundle{
		{Name: "now", URL: folder(t, map[string]string{".manifest": `{"roots":["regate/policies/t"]}`, "p.rego": module("t.p", allowAll)})},
		{Name: "later", URL: later},
	}})
	expect(t, e.Evaluate(t.Context(), selectDoc()), Deny, "engine/no-bundle")
	if err := e.Ready(); err == nil || !strings.Contains(err.Error(), `"later"`) {
		t.Errorf("ready: %v", err)
	}
	if err := os.Mkdir(later, 0o755); err != nil {
		t.Fatal(err)
	}
	writeFolder(t, later, map[string]string{".manifest": `{"roots":["regate/policies/u"]}`, "p.rego": module("u.p", `deny contains {"id": "u.p/no"} if true`)})
	refresh(t, e)
	expect(t, e.Evaluate(t.Context(), selectDoc()), Deny, "u.p/no")
}

func TestOverlappingRootsAreRefused(t *testing.T) {
	one := folder(t, map[string]string{".manifest": `{"roots":["regate/policies/t"]}`, "p.rego": module("t.p", allowAll)})
	two := folder(t, map[string]string{".manifest": `{"roots":["regate/policies"]}`, "p.rego": module("u.p", allowAll)})
	e := startEngine(t, Config{Bundles: []Bundle{{Name: "one", URL: one}, {Name: "two", URL: two}}})
	refused := 0
	for _, b := range e.Status().Bundles {
		if strings.Contains(strings.Join(b.Errors, "\n"), "overlapping roots") {
			refused++
		}
	}
	if refused == 0 {
		t.Errorf("status %+v", e.Status().Bundles)
	}
	expect(t, e.Evaluate(t.Context(), selectDoc()), Deny, "engine/no-bundle")
}

// OPA's own records of bundles are data too: a bundle must not write them.
func TestSystemRootIsRefused(t *testing.T) {
	e := startEngine(t, Config{Bundles: []Bundle{{Name: "t", URL: folder(t, map[string]string{
		".manifest": `{"roots":["regate/policies/t","system/bundles/other"]}`, "p.rego": module("t.p", allowAll),
	})}}})
	if err := e.Ready(); err == nil || !strings.Contains(err.Error(), "where OPA keeps") {
		t.Errorf("ready: %v", err)
	}
}

// One broken bundle does not hold up the change of another.
func TestBundlesAreLoadedOneByOneWhenTogetherTheyFail(t *testing.T) {
	one := folder(t, map[string]string{".manifest": `{"roots":["regate/policies/t"]}`, "p.rego": module("t.p", allowAll)})
	two := folder(t, map[string]string{".manifest": `{"roots":["regate/policies/u"]}`, "p.rego": module("u.p", `deny contains "x" if input.action.opaque`)})
	e := newEngine(t, Config{Bundles: []Bundle{{Name: "one", URL: one}, {Name: "two", URL: two}}})
	writeFolder(t, one, map[string]string{"p.rego": module("t.p", `allow contains {"id": "t.p/new"} if true`)})
	writeFolder(t, two, map[string]string{"p.rego": module("u.p", `helper if true`)})
	refresh(t, e)
	expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/new")
	if b := e.Status().Bundles[1]; b.State != stateStale {
		t.Errorf("bundle two: %+v", b)
	}
}

func TestFoldersAreWatched(t *testing.T) {
	dir := folder(t, map[string]string{"p.rego": module("t.p", allowAll)})
	e := newEngine(t, Config{Bundles: []Bundle{{Name: "t", URL: "file://" + dir}}})
	changed := make(chan struct{}, 8)
	defer e.Subscribe(func() { changed <- struct{}{} })()

	writeFolder(t, dir, map[string]string{"new/deeper/q.rego": module("t.q", `deny contains {"id": "t.q/no"} if true`)})
	wait(t, changed)
	expect(t, e.Evaluate(t.Context(), selectDoc()), Deny, "t.q/no")
	writeFolder(t, dir, map[string]string{"new/deeper/q.rego": module("t.q", `deny contains {"id": "t.q/never"} if false`)})
	wait(t, changed)
	expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/all")
}

func wait(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute):
		t.Fatal("nothing happened")
	}
}

// A Kubernetes ConfigMap is a folder of links into a folder that is replaced.
func TestMountedConfigMap(t *testing.T) {
	dir := t.TempDir()
	real := filepath.Join(dir, "..2026_11_23")
	if err := os.Mkdir(real, 0o755); err != nil {
		t.Fatal(err)
	}
	writeFolder(t, real, map[string]string{"p.rego": module("t.p", allowAll)})
	for link, to := range map[string]string{"..data": "..2026_11_23", "p.rego": "..data/p.rego", ".manifest": "..data/.manifest"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	e := newEngine(t, Config{Bundles: []Bundle{{Name: "t", URL: dir}}})
	expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/all")
	if r := e.Status().Bundles[0].Revision; r != "r1" {
		t.Errorf("revision %q", r)
	}
}

func TestALinkToAFolderIsRefused(t *testing.T) {
	dir := folder(t, map[string]string{"p.rego": module("t.p", allowAll), "a/q.rego": module("t.q", allowAll)})
	if err := os.Symlink("a", filepath.Join(dir, "more")); err != nil {
		t.Fatal(err)
	}
	e := startEngine(t, Config{Bundles: []Bundle{{Name: "t", URL: dir}}})
	if err := e.Ready(); err == nil || !strings.Contains(err.Error(), "link to a folder") {
		t.Errorf("ready: %v", err)
	}
}

func TestTestModulesDecideNothing(t *testing.T) {
	e := newEngine(t, Config{Bundles: []Bundle{{Name: "t", URL: folder(t, map[string]string{
		"p.rego":      module("t.p", allowAll),
		"p_test.rego": "package regate.policies.t.p_test\n\nimport data.nothing.here\n\ntest_x if here.y\n",
	})}}})
	expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/all")
}

func TestPackagesApplyByProtocolAndTarget(t *testing.T) {
	meta := func(custom, name, body string) string {
		return "# METADATA\n# scope: package\n# custom:\n#   regate: " + custom + "\npackage regate.policies." + name + "\n\n" + body + "\n"
	}
	e := newEngine(t, Config{Bundles: []Bundle{{Name: "t", URL: folder(t, map[string]string{
		"a.rego": meta(`{protocols: [postgres]}`, "t.a", `allow contains {"id": "t.a/all"} if true`),
		"b.rego": meta(`{targets: ["shop*"]}`, "t.b", `deny contains {"id": "t.b/shop"} if true`),
		"c.rego": meta(`{mode: shadow}`, "t.c", `deny contains {"id": "t.c/no"} if true`),
	})}}})
	expect(t, e.Evaluate(t.Context(), selectDoc()), Deny, "t.b/shop")
	other := with(selectDoc(), func(d *input.Document) {
		d.Target = input.NewPart(input.Target{Name: "crm", Protocol: input.Postgres, Labels: map[string]string{}})
	})
	r := e.Evaluate(t.Context(), other)
	expect(t, r, Allow, "t.a/all")
	if strings.Join(r.Evaluated, " ") != "t.a" || strings.Join(r.Shadow, " ") != "t.c" {
		t.Errorf("evaluated %v, shadow %v", r.Evaluated, r.Shadow)
	}
	odd := with(selectDoc(), func(d *input.Document) { d.Protocol = "gopher" })
	expect(t, e.Evaluate(t.Context(), odd), Deny, "t.b/shop")
}

func TestAllowFrom(t *testing.T) {
	body := `allow contains {"id": "%/all"} if true`
	files := map[string]string{
		"a.rego": module("a.p", strings.ReplaceAll(body, "%", "a.p")),
		"b.rego": module("b.p", strings.ReplaceAll(body, "%", "b.p")),
	}
	dir := folder(t, files)
	for _, c := range []struct {
		name    string
		from    []AllowFrom
		effect  Effect
		reasons string
	}{
		{"anybody", nil, Allow, "a.p/all b.p/all"},
		{"one owner", []AllowFrom{{Packages: []string{"a.*"}}}, Allow, "a.p/all"},
		{"for this target", []AllowFrom{{Targets: []string{"sho?"}, Packages: []string{"b.p"}}}, Allow, "b.p/all"},
		{"for another target", []AllowFrom{{Targets: []string{"crm"}, Packages: []string{"*"}}}, Deny, "engine/no-allow"},
		{"from nobody that is there", []AllowFrom{{Packages: []string{"c.*"}}}, Deny, "engine/no-allow"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEngine(t, Config{AllowFrom: c.from, Bundles: []Bundle{{Name: "t", URL: dir}}})
			expect(t, e.Evaluate(t.Context(), selectDoc()), c.effect, c.reasons)
		})
	}
}

func refresh(t *testing.T, e *Engine) {
	t.Helper()
	if err := e.Refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
}
