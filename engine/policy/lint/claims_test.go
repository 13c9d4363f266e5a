package lint

import (
	"testing"

	"github.com/open-policy-agent/opa/v1/rego"
)

// TestWhatTheChecksSayOfRego: the findings about what is missing or null, about
// every and about some, are claims about OPA. Each is evaluated here.
func TestWhatTheChecksSayOfRego(t *testing.T) {
	empty := map[string]any{"labels": map[string]any{}, "limit": nil, "flag": nil, "list": []any{}, "two": []any{"a", "b"}}
	for _, c := range []struct {
		id, body string
		holds    bool
	}{
		{idMissingNot, `not input.labels.safe`, true},
		{idMissingNot, `not input.labels.env == "prod"`, true},
		{idMissingHoisted, `not input.labels.env in {"dev"}`, false},
		{idMissingHoisted, `not startswith(input.labels.env, "d")`, false},
		{idMissingNotEqual, `input.labels.env != "dev"`, false},
		{idNullTrue, `input.flag`, true},
		{idNullNotEqual, `input.flag != true`, true},
		{idNullCompare, `input.limit <= 100`, true},
		{idNullCompare, `input.limit > 100`, false},
		{idSomeNotEqual, `input.two[_] != "a"`, true},
		{idOneIsEnough, `"a" in input.two`, true},
		{idEveryNone, `every x in input.list { x == "a" }`, true},
	} {
		results, err := rego.New(rego.Query("data.p.x"), rego.Module("p.rego", "package p\n\nx if "+c.body), rego.Input(empty)).Eval(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := len(results) > 0; got != c.holds {
			t.Errorf("%s: `%s` holds: %v, want %v", c.id, c.body, got, c.holds)
		}
	}
}
