package policy

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/regate-dev/regate/engine/input"
)

func loadSet(t testing.TB, o SetOptions) *Set {
	t.Helper()
	s, err := LoadSet(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func docJSON(t testing.TB, d *input.Document) []byte {
	t.Helper()
	raw, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// What tools decide is what the gateway decides, bundles' digests included.
func TestSetDecidesAsTheEngine(t *testing.T) {
	cfg := demoConfig(t)
	e := newEngine(t, cfg)
	s := loadSet(t, SetOptions{Bundles: cfg.Bundles})
	yes := true
	docs := []*input.Document{
		selectDoc(),
		with(selectDoc(), func(d *input.Document) {
			d.Stage = input.StageSession
			d.Action = input.NewPart(input.SQLAction{Verb: "connect", Verbs: []string{"connect"}})
			d.Detail = nil
		}),
		with(selectDoc(), sqlAction(input.SQLAction{Verb: "drop", Verbs: []string{"drop"}, Writes: true, DDL: true})),
		with(selectDoc(), sqlAction(input.SQLAction{Verb: "update", Verbs: []string{"update"}, Writes: true, HasWhere: &yes, WhereConstant: new(bool)})),
		with(selectDoc(), func(d *input.Document) {
			sqlAction(input.SQLAction{Verb: "update", Verbs: []string{"update"}, Writes: true, HasWhere: &yes, WhereConstant: new(bool)})(d)
			d.Approvals = []input.Approval{{ID: "a", By: input.Approver{ID: "bob", Groups: []string{"dba"}}, At: "2026-11-23T08:59:00Z", ExpiresAt: "2026-11-23T09:10:00Z"}}
		}),
		with(selectDoc(), func(d *input.Document) { d.Enforcer = input.NewPart(input.Enforcer{}) }),
		with(selectDoc(), func(d *input.Document) { d.Protocol = "kubernetes"; d.Detail = nil }),
	}
	for i, d := range docs {
		want := e.Evaluate(t.Context(), d)
		got, err := s.Evaluate(t.Context(), docJSON(t, d))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.JSON(), want.JSON()) {
			t.Errorf("document %d: got\n%s\nwant\n%s", i, show(got), show(want))
		}
	}
	if got := len(s.Packages()); got != len(e.Status().Packages) {
		t.Errorf("%d packages", got)
	}
}

func TestSetLoadsPathsAsAuthorsGiveThem(t *testing.T) {
	s := loadSet(t, SetOptions{Paths: []string{repo + "/policies", repo + "/bundles/demo"}})
	if len(s.Packages()) < 9 || len(s.TestModules()) < 10 {
		t.Errorf("%d packages, %d test modules", len(s.Packages()), len(s.TestModules()))
	}
	for file := range s.TestModules() {
		if _, ok := s.Compiler().Modules[file]; ok {
			t.Errorf("%s decides", file)
		}
		if _, err := os.Stat(file); err != nil {
			t.Errorf("a module is not named by its file: %v", err)
		}
	}
	for _, p := range s.Packages() {
		if p.Name == "acme.shop" && (p.Bundle != filepath.Clean(repo+"/bundles/demo") || len(p.Files) != 1 || p.Mode != "enforce") {
			t.Errorf("%+v", p)
		}
	}

	// No manifest, several paths, single files.
	dir := t.TempDir()
	writeFolder(t, dir, map[string]string{
		".manifest":         `{"roots": ["nobody"]}`,
		"plain/p.rego":      module("t.p", `allow contains {"id": "t.p/all"} if data.settings.open`),
		"plain/p_test.rego": "package regate.policies.t.p_test\n\ntest_x if true\n",
		"more.rego":         module("t.q", `limit contains {"id": "t.q/rows", "rows": 5}`),
		"settings.json":     `{"settings": {"open": true}}`,
	})
	s = loadSet(t, SetOptions{Paths: []string{dir + "/plain", dir + "/more.rego", dir + "/settings.json"}})
	r, err := s.Evaluate(t.Context(), docJSON(t, selectDoc()))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, r, Allow, "t.p/all")
	if r.Limit.Rows != 5 || len(s.TestModules()) != 1 {
		t.Errorf("limit %+v, tests %v", r.Limit, s.TestModules())
	}
	if s := loadSet(t, SetOptions{Paths: []string{dir + "/plain"}, SkipTests: true}); len(s.TestModules()) != 0 {
		t.Error("tests were loaded")
	}
}

// Every problem is there, with its place; what the gateway refuses is refused.
func TestSetListsEveryProblem(t *testing.T) {
	dir := folder(t, map[string]string{
		"a.rego": module("t.a", "deny contains {\"id\": \"a\"} if input.action.verbb == \"x\"\n\ndeny contains {\"id\": \"b\"} if input.nothing == 1"),
		"b.rego": module("t.b", "x := 1"),
	})
	_, err := LoadSet(t.Context(), SetOptions{Paths: []string{dir}})
	problems, ok := err.(Problems)
	if !ok || len(problems) < 3 {
		t.Fatalf("%T %v", err, err)
	}
	for _, want := range []string{"a.rego:7: rego_type_error: undefined ref: input.action.verbb", "a.rego:9: rego_type_error: undefined ref: input.nothing", "b.rego:5: regate_package_error"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
	for name, files := range map[string]map[string]string{
		"syntax":       {"p.rego": "package x\n\ndeny contains if"},
		"outside root": {".manifest": `{"roots": ["lib"]}`, "p.rego": module("t.p", allowAll)},
		"bad data":     {"p.rego": module("t.p", allowAll), "data.json": "{"},
	} {
		if _, err := LoadSet(t.Context(), SetOptions{Paths: []string{folder(t, files)}}); err == nil {
			t.Errorf("%s: loaded", name)
		} else if _, ok := err.(Problems); !ok {
			t.Errorf("%s: %T", name, err)
		}
	}
	one := folder(t, map[string]string{"p.rego": module("t.p", allowAll)})
	two := folder(t, map[string]string{"p.rego": module("t.q", allowAll)})
	if _, err := LoadSet(t.Context(), SetOptions{Paths: []string{one, two}}); err == nil || !strings.Contains(err.Error(), "overlaps") {
		t.Errorf("overlapping roots: %v", err)
	}
	if _, err := LoadSet(t.Context(), SetOptions{}); err == nil {
		t.Error("nothing was loaded, and that is no error")
	}
	if _, err := LoadSet(t.Context(), SetOptions{Paths: []string{filepath.Join(one, "no-such.rego")}}); err == nil {
		t.Error("a file that is not there")
	}
}

func TestSetDeniesWhatIsWrong(t *testing.T) {
	s := loadSet(t, SetOptions{Paths: []string{folder(t, map[string]string{"p.rego": module("t.p", allowAll)})}})
	for _, doc := range []string{``, `[]`, `"x"`, `null`, `{"a":1`, `{} {}`, `nul`} {
		if r, err := s.Evaluate(t.Context(), []byte(doc)); err == nil {
			t.Errorf("%s: %s", doc, show(r))
		}
	}
	approved := `"approvals": [{"id": "a", "by": {"id": "bob", "groups": ["dba"]}, "at": "2026-11-23T08:59:00Z", "expires_at": "2026-11-23T09:10:00Z"}]`
	for _, doc := range []string{
		`{"protocol": "postgres", "stage": "request", "enforcer": 7}`,
		`{"protocol": "postgres", "stage": "request", "approvals": {}}`,
		`{"protocol": "postgres", "stage": "request", ` + approved + `}`,
		`{"protocol": "postgres", "stage": "request", "time": "2026-11-23T09:00:00Z", "subject": "bob", ` + approved + `}`,
	} {
		r, err := s.Evaluate(t.Context(), []byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		expect(t, r, Deny, "engine/error")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := s.Evaluate(ctx, []byte(`{}`)); err != nil || r.Effect != Deny {
		t.Errorf("%v", err)
	}
}

func TestSetShadow(t *testing.T) {
	dir := folder(t, map[string]string{
		"p.rego": module("t.p", allowAll),
		"s.rego": "# METADATA\n# scope: package\n# custom:\n#   regate: {mode: shadow}\npackage regate.policies.s.s\n\ndeny contains {\"id\": \"s\"} if input.stage == \"request\"\n",
	})
	r, err := loadSet(t, SetOptions{Paths: []string{dir}}).Evaluate(t.Context(), docJSON(t, selectDoc()))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, r, Allow, "t.p/all")
	r, err = loadSet(t, SetOptions{Paths: []string{dir}, EnforceShadow: true}).Evaluate(t.Context(), docJSON(t, selectDoc()))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, r, Deny, "s")
}

func TestSetReads(t *testing.T) {
	s := loadSet(t, SetOptions{Paths: []string{folder(t, map[string]string{"p.rego": module("t.p", `
deny contains {"id": "a"} if {
	some name
	"read" in input.resource.tables[name].access
	groups := input.subject
	"x" in groups.groups
	f(input.session.client)
	input.target.labels[input.asserted.task] == "x"
}
f(c) if c.tls
`)})}})
	var got []string
	for _, path := range s.Reads("t.p") {
		got = append(got, strings.Join(path, "."))
	}
	want := []string{"asserted.task", "resource.tables.*.access", "session.client", "subject", "target.labels.*"}
	if !slices.Equal(got, want) {
		t.Errorf("reads %q, want %q", got, want)
	}
}

func TestSetOverOtherData(t *testing.T) {
	s := loadSet(t, SetOptions{Paths: []string{folder(t, map[string]string{
		"p.rego":    module("t.p", allowAll+"\nlimit contains {\"id\": \"t.p/rows\", \"rows\": data.regate.n.rows}"),
		"data.json": `{"regate": {"n": {"rows": 5, "other": 1}}}`,
	})}})
	other, err := s.WithData(t.Context(), []Override{{Path: []string{"regate", "n", "rows"}, Value: ast.Number("7")}})
	if err != nil {
		t.Fatal(err)
	}
	for want, of := range map[int64]*Set{5: s, 7: other} {
		r, err := of.WithOptimisations(false, false).Evaluate(t.Context(), docJSON(t, selectDoc()))
		if err != nil || r.Limit.Rows != want {
			t.Errorf("want %d: %v %s", want, err, show(r))
		}
	}
	if _, err := s.WithData(t.Context(), []Override{{}}); err == nil {
		t.Error("all of data was replaced")
	}
}

// A package without an allow is judged as if another one allowed.
func TestSetGuards(t *testing.T) {
	s := loadSet(t, SetOptions{Paths: []string{folder(t, map[string]string{
		"p.rego": module("t.p", "deny contains {\"id\": \"t.p/no\"} if input.target.name == \"shop\""),
		"q.rego": module("t.q", "limit contains {\"id\": \"t.q/rows\", \"rows\": 3}"),
	})}})
	in, err := ParseInput(docJSON(t, selectDoc()))
	if err != nil {
		t.Fatal(err)
	}
	said := s.Ask(t.Context(), in, in.Term(), nil)
	expect(t, said.Ruling, Deny, "t.p/no")
	expect(t, said.Guards, Deny, "t.p/no")
	if !slices.Equal(said.Spoke, []string{"t.p", "t.q"}) {
		t.Errorf("spoke %q", said.Spoke)
	}
	shown := ast.MustParseTerm(`{"target": {"name": "other"}}`)
	said = s.Ask(t.Context(), in, shown, nil)
	expect(t, said.Ruling, Deny, "engine/no-allow")
	expect(t, said.Guards, Allow, "another/allow")
	if said.Guards.Limit.Rows != 3 {
		t.Errorf("%+v", said.Guards.Limit)
	}
	if said = s.Ask(t.Context(), in, shown, []string{"t.p"}); said.Guards.Limit.Rows != 0 || len(said.Spoke) != 0 {
		t.Errorf("%+v", said)
	}
}
