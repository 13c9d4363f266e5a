package prove

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/policy/corpus"
)

// load loads one package regate.policies.t.p and its tests.
func load(t *testing.T, body, tests string) *policy.Set {
	t.Helper()
	dir := t.TempDir()
	head := "# METADATA\n# scope: package\n# custom:\n#   regate: {protocols: [postgres]}\n"
	for name, text := range map[string]string{
		".manifest":   `{"roots": ["regate"]}`,
		"data.json":   `{"regate": {"settings": {"verbs": ["drop"]}}}`,
		"p.rego":      head + "package regate.policies.t.p\n\n" + body + "\n",
		"p_test.rego": "package regate.policies.t.p_test\n\nimport data.regate.policies.t.p\n\n" + tests + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	set, err := policy.LoadSet(t.Context(), policy.SetOptions{Paths: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func mutate(t *testing.T, set *policy.Set, except ...string) *MutationReport {
	t.Helper()
	c, err := Capture(t.Context(), set, TestOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Mutate(t.Context(), set, slices.Values(c.Cases), MutationOptions{Except: except})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// findings writes what was found, one a line.
func findings(r *MutationReport) string {
	var out []string
	for _, f := range r.Failures() {
		out = append(out, fmt.Sprintf("%s:%d %s %s: %s -> %s", filepath.Base(f.Rule.File), f.Rule.Line, f.Rule.ID, f.Field, f.Before, f.After))
	}
	return strings.Join(out, "\n")
}

// Each way of opening up is found, and said of its rule and field.
func TestMutationFindsEachWayOfOpeningUp(t *testing.T) {
	for name, c := range map[string]struct{ body, tests, want string }{
		"a denial falls silent": {
			`deny contains {"id": "t.p/drop"} if "drop" in input.action.verbs`,
			`test_it if count(p.deny) == 1 with input.action.verbs as ["drop"]`,
			"p.rego:7 t.p/drop input.action.verbs: deny -> allow",
		},
		"not over what is missing allows": {
			`allow contains {"id": "t.p/all"} if not input.action.writes == true`,
			`test_it if count(p.allow) == 0 with input.action.writes as true`,
			"p.rego:7 t.p/all input.action.writes: deny -> allow",
		},
		"a mask is lost": {
			"allow contains {\"id\": \"t.p/all\"}\n\nmask contains {\"id\": \"t.p/m\", \"field\": \"a.b.c\", \"method\": \"null\"} if input.action.verb == \"select\"",
			`test_it if count(p.mask) == 1 with input.action.verb as "select"`,
			"p.rego:9 t.p/m input.action.verb: mask a.b.c (null) -> no mask",
		},
		"a limit is raised": {
			"limit contains {\"id\": \"t.p/l\", \"rows\": 5} if \"guests\" in input.subject.groups\n\nlimit contains {\"id\": \"t.p/all\", \"rows\": 50}",
			`test_it if count(p.limit) == 2 with input.subject.groups as ["guests"]`,
			"p.rego:7 t.p/l input.subject.groups: limit of rows: 5 rows -> 50 rows",
		},
		"an approval is dropped": {
			`require_approval contains {"id": "t.p/a", "from": ["group:dba"]} if input.action.writes`,
			`test_it if count(p.require_approval) == 1 with input.action.writes as true`,
			"p.rego:7 t.p/a input.action.writes: require_approval -> allow",
		},
		"in elements of lists": {
			`deny contains {"id": "t.p/flow"} if { some f in input.sql.statement.flows; startswith(f.to, "public.") }`,
			`test_it if count(p.deny) == 1 with input.sql.statement.flows as [{"to": "public.a", "from": []}]`,
			"p.rego:7 t.p/flow input.sql: deny -> allow\np.rego:7 t.p/flow input.sql.statement.flows: deny -> allow\np.rego:7 t.p/flow input.sql.statement.flows[_].to: deny -> allow",
		},
		"under the data that the test puts there": {
			`deny contains {"id": "t.p/verb"} if { some v in data.regate.settings.verbs; v in input.action.verbs }`,
			`test_it if count(p.deny) == 1 with input.action.verbs as ["alter"] with data.regate.settings.verbs as ["alter"]`,
			"p.rego:7 t.p/verb input.action.verbs: deny -> allow",
		},
		"from helpers and comprehensions of the test": {
			`deny contains {"id": "t.p/drop"} if "drop" in input.action.verbs`,
			"asked(doc) := {d.id | some d in p.deny with input as doc}\n\ntest_it if asked({\"action\": {\"verbs\": [\"drop\"]}}) == {\"t.p/drop\"}\n\n" +
				`test_every if { every v in ["drop"] { count(p.deny) == 1 with input as {"action": {"verbs": [v]}} } }`,
			"p.rego:7 t.p/drop input.action.verbs: deny -> allow",
		},
		"guarded": {
			"deny contains {\"id\": \"t.p/drop\"} if \"drop\" in input.action.verbs\n\ndeny contains {\"id\": \"t.p/input\"} if not known\n\nknown if is_array(input.action.verbs)",
			`test_it if count(p.deny) == 1 with input.action.verbs as ["drop"]`,
			"",
		},
		"entries of labels are data": {
			"require_approval contains {\"id\": \"t.p/a\", \"from\": [\"any\"]} if input.target.labels.env == \"prod\"\n\ndeny contains {\"id\": \"t.p/input\"} if not known\n\nknown if is_object(input.target.labels)",
			`test_it if count(p.require_approval) == 1 with input.target.labels as {"env": "prod"}`,
			"",
		},
		"an error denies": {
			`deny contains {"id": "t.p/text"} if startswith(input.sql.text, "drop")` + "\n\n" + `deny contains {"id": "t.p/input"} if not known` + "\n\n" + `known if is_string(input.sql.text)`,
			`test_it if count(p.deny) == 1 with input.sql.text as "drop"`,
			"",
		},
	} {
		t.Run(name, func(t *testing.T) {
			set := load(t, c.body, c.tests)
			report, err := Test(t.Context(), set, TestOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if passed, failed, erred, _ := report.Counts(); passed == 0 || failed+erred > 0 {
				t.Fatal("the test itself does not pass")
			}
			r := mutate(t, set)
			if got := findings(r); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if r.Mutations == 0 {
				t.Error("nothing was mutated")
			}
			for _, f := range r.Findings {
				if f.Fix == "" || f.From == "" || len(f.Mutations) == 0 {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}

func TestMutationLeavesOutWhatItIsTold(t *testing.T) {
	set := load(t, `deny contains {"id": "t.p/drop"} if "drop" in input.action.verbs`, `test_it if count(p.deny) == 1 with input.action.verbs as ["drop"]`)
	if r := mutate(t, set, "input.action"); len(r.Findings) != 0 || r.Mutations != 0 {
		t.Errorf("%+v", r)
	}
	if r := mutate(t, set, "input.act"); len(r.Findings) != 1 {
		t.Errorf("%+v", r)
	}
}

// What may be null and opens up when it is, is for a person to judge.
func TestNullWhereItMayBeIsANote(t *testing.T) {
	set := load(t, "deny contains {\"id\": \"t.p/agents\"} if is_object(input.actor)\n\ndeny contains {\"id\": \"t.p/input\"} if not known\n\nknown if is_null(input.actor)\n\nknown if is_object(input.actor)",
		`test_it if count(p.deny) == 1 with input.actor as {"id": "bot"}`)
	r := mutate(t, set)
	if len(r.Failures()) != 0 || len(r.Notes()) != 1 || !slices.Equal(r.Notes()[0].Mutations, []Kind{Null}) {
		t.Errorf("%+v", r)
	}
}

// Places where a test replaces a rule are counted and left out.
func TestCaptureLeavesReplacedRulesOut(t *testing.T) {
	set := load(t, "deny contains {\"id\": \"t.p/drop\"} if bad\n\nbad if \"drop\" in input.action.verbs",
		"test_it if count(p.deny) == 1 with input as {} with p.bad as true\n\ntest_function if count(p.deny) == 0 with input as {} with count as 0\n\ntest_plain if p.deny == set() with input as {\"a\": 1}")
	c, err := Capture(t.Context(), set, TestOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if c.Mocked != 2 || len(c.Cases) != 1 || !strings.HasSuffix(c.Cases[0].From, "p_test.rego:9") {
		t.Errorf("%+v", c)
	}
	if !slices.Equal(c.Cases[0].Packages, []string{"t.p"}) {
		t.Errorf("%+v", c.Cases[0].Packages)
	}
}

func TestRecordedInputsAreTriedOnce(t *testing.T) {
	set := load(t, `deny contains {"id": "t.p/drop"} if "drop" in input.action.verbs`, `test_it if true`)
	doc := `{"schema": "regate.input/v1", "protocol": "postgres", "stage": "request", "time": "2026-01-02T03:04:%02dZ", "action": {"verbs": ["%s"]}}`
	var text strings.Builder
	for i := range 10 {
		fmt.Fprintf(&text, doc+"\n", i, []string{"drop", "select"}[i%2])
	}
	text.WriteString("{broken")
	file := filepath.Join(t.TempDir(), "inputs.ndjson")
	if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	var problems []error
	seen := 0
	cases := slices.Collect(Recorded(set, corpus.Files(file), 100, &seen, func(err error) { problems = append(problems, err) }))
	if len(cases) != 2 || seen != 10 || len(problems) != 1 {
		t.Fatalf("%d cases of %d, problems %v", len(cases), seen, problems)
	}
	r, err := Mutate(t.Context(), set, slices.Values(cases), MutationOptions{})
	if err != nil || len(r.Findings) != 1 || r.Findings[0].From != file+", value 1" {
		t.Errorf("%v %+v", err, r)
	}
	if d, err := Differential(t.Context(), set, slices.Values(cases)); err != nil || d.Inputs != 2 || len(d.Disagreements) != 0 {
		t.Errorf("%v %+v", err, d)
	}
	if cases := slices.Collect(Recorded(set, corpus.Files(file), 1, &seen, func(error) {})); len(cases) != 1 {
		t.Errorf("%d cases, more than the limit", len(cases))
	}
}

func TestCancelledRunsSayNothing(t *testing.T) {
	set := load(t, `deny contains {"id": "t.p/drop"} if "drop" in input.action.verbs`, `test_it if true`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cases := slices.Values([]Case{{From: "x", Input: ast.MustParseTerm(`{"protocol": "postgres", "action": {"verbs": ["drop"]}}`)}})
	if r, err := Mutate(ctx, set, cases, MutationOptions{}); err == nil {
		t.Errorf("%+v", r)
	}
	if r, err := Differential(ctx, set, cases); err == nil {
		t.Errorf("%+v", r)
	}
}

// What is no object, or of no known protocol, is not a reason to fall over.
func TestOddInputs(t *testing.T) {
	set := load(t, `deny contains {"id": "t.p/drop"} if "drop" in input.action.verbs`, `test_it if true`)
	for _, text := range []string{`{}`, `{"protocol": "nobody's"}`, `{"protocol": 7}`, `{"action": null}`, `{"action": {"verbs": {"drop"}}}`, `{"stage": [], "target": "x"}`} {
		cases := slices.Values([]Case{{From: "x", Input: ast.MustParseTerm(text)}})
		if _, err := Mutate(t.Context(), set, cases, MutationOptions{}); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := Mutate(t.Context(), set, slices.Values([]Case{{From: "x", Input: ast.MustParseTerm(`[]`)}}), MutationOptions{}); err == nil {
		t.Error("a list is taken for a document")
	}
}
