package scaffold

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/policy"
)

// TestTestModules: stock opa takes and passes what is made of real documents,
// whatever is in them.
func TestTestModules(t *testing.T) {
	opa := stockOPA(t)
	example, err := Example(input.Postgres)
	if err != nil {
		t.Fatal(err)
	}
	hostile := `{"action":{"verb":"a\"}\n\\ } if { \u0000 \u2028 \u202e \udb40\udc41 \ud83d\ude00 <&>"},"complete":false,"n":[1e300,-0.5,12345678901234567890],"é\"":{},` +
		`"deep":` + strings.Repeat(`[`, 50) + strings.Repeat(`]`, 50) + `}`
	cases := []TestCase{
		{Name: "select public.customers", Comment: "SELECT 1\nFROM t -- x\r\n\u2028package evil\x00\x1b[2J", Input: example},
		{Name: "select public.customers", Input: example},
		{Name: "select public customers 2", Input: example},
		{Name: "select public.customers", Input: example},
		{Name: "sql", Comment: "its name is that of the import", Input: example},
		{Name: "", Input: json.RawMessage(hostile)},
		{Name: "if", Input: json.RawMessage(`{}`)},
		{Name: "7 über " + strings.Repeat("long ", 100), Input: json.RawMessage("{\n \"complete\" : true }")},
	}
	source, err := TestModule("regate.policies.acme.sql", cases)
	if err != nil {
		t.Fatal(err)
	}
	dir := made(t, Options{Protocols: []input.Protocol{input.Postgres}, Owner: "acme"})
	// In the place of the bundle's own tests it says the same for opa fmt and
	// opa check; coverage is another matter.
	if err := os.WriteFile(filepath.Join(dir, "sql", "policy_test.rego"), source, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range Commands()[:3] {
		if out, err := run(t, opa, dir, command); err != nil {
			t.Errorf("%s: %v\n%s\n%s", command, err, out, source)
		}
	}
	if strings.ContainsAny(string(source), "\u2028\u202e\U000e0041\x1b") {
		t.Errorf("there is what a reader does not see:\n%q", source)
	}
	if n := strings.Count(string(source), "\ntest_"); n != len(cases) {
		t.Errorf("%d tests", n)
	}
}

// TestWhatIsSaid: with what the policy says, the test holds exactly that.
func TestWhatIsSaid(t *testing.T) {
	opa := stockOPA(t)
	example, err := Example(input.Postgres)
	if err != nil {
		t.Fatal(err)
	}
	dir := made(t, Options{Protocols: []input.Protocol{input.Postgres}, Owner: "acme"})
	for verdict, say := range map[string]map[string][]string{
		"PASS": {"allow": {"acme.sql/read"}, "deny": nil, "limit": {"acme.sql/rows"}},
		"FAIL": {"allow": {"acme.sql/write"}, "deny": nil},
	} {
		source, err := TestModule("regate.policies.acme.sql", []TestCase{{Name: "read", Input: example, Say: say}})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "sql", "policy_test.rego"), source, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := run(t, opa, dir, Commands()[2])
		if (err == nil) != (verdict == "PASS") || !strings.Contains(out, verdict) {
			t.Errorf("%v\n%s\n%s", err, out, source)
		}
	}
}

// TestSay: what the package says is what the test then holds.
func TestSay(t *testing.T) {
	opa := stockOPA(t)
	dir := made(t, Options{Protocols: []input.Protocol{input.Postgres}, Owner: "acme"})
	more := `
record contains "plain" if input.stage == "request"
`
	file := filepath.Join(dir, "sql", "policy.rego")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(raw, more...), 0o600); err != nil {
		t.Fatal(err)
	}
	set, err := policy.LoadSet(t.Context(), policy.SetOptions{Paths: []string{dir}, SkipTests: true})
	if err != nil {
		t.Fatal(err)
	}
	example, err := Example(input.Postgres)
	if err != nil {
		t.Fatal(err)
	}
	const pkg = "regate.policies.acme.sql"
	say, err := Say(t.Context(), set, pkg, example)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		"allow": {"acme.sql/read"}, "deny": nil, "require_approval": nil, "mask": {"acme.sql/email"}, "limit": {"acme.sql/rows"},
	}
	if !reflect.DeepEqual(say, want) {
		t.Errorf("%v", say)
	}
	source, err := TestModule(pkg, []TestCase{{Name: "read", Input: example, Say: say}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sql", "policy_test.rego"), source, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range Commands()[:3] {
		if out, err := run(t, opa, dir, command); err != nil {
			t.Errorf("%s: %v\n%s\n%s", command, err, out, source)
		}
	}
	for _, bad := range []string{"regate.policies.acme.other", "data.x", "a b"} {
		if _, err := Say(t.Context(), set, bad, example); err == nil {
			t.Errorf("%s says something", bad)
		}
	}
	if _, err := Say(t.Context(), set, pkg, []byte("{")); err == nil {
		t.Error("an input that is none")
	}
}

func TestBadTestModules(t *testing.T) {
	for _, pkg := range []string{"", "a..b", "A", "a.if", "a-b", "a\nb", "1a", "data.\x00"} {
		if out, err := TestModule(pkg, nil); err == nil {
			t.Errorf("%q: %s", pkg, out)
		}
	}
	if _, err := TestModule("a.b", make([]TestCase, maxCases+1)); err == nil || !strings.Contains(err.Error(), "too many") {
		t.Errorf("%v", err)
	}
	for _, doc := range []string{"", "[]", "1", "{", `{"action":1}`} {
		if out, err := TestModule("a.b", []TestCase{{Input: json.RawMessage(doc)}}); err == nil {
			t.Errorf("%q: %s", doc, out)
		}
	}
}
