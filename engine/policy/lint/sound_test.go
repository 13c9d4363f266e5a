package lint

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/rego"
)

// conditions are what random rules are made of.
var conditions = []string{
	`input.action.verb == "drop"`, `input.action.verb == "alter"`, `input.action.verb in {"drop", "select"}`,
	`input.action.verb != "drop"`, `not input.action.verb in {"alter", "select"}`, `"drop" in input.action.verbs`,
	`input.action.writes`, `not input.action.writes`, `input.action.writes == false`, `input.action.ddl == true`,
	`input.action.limit > 10`, `input.action.limit <= 50`, `input.action.limit == 50`, `input.action.limit != 50`,
	`input.target.labels.env == "prod"`, `not input.target.labels.env == "prod"`, `input.target.labels.env != "dev"`, `input.target.labels.env`,
	`reads`, `not reads`, `either`, `is_verb("drop")`, `not is_verb("alter")`, `verb_of == "drop"`, `input.action.verb == verb_of`,
	`input.action.verb in strong`, `not input.action.verb in strong`, `level > 1`, `level == 1`, `kind_of(input.action.verb) == "big"`,
	`x := input.action.verb; x == "select"`, `some v in ["drop", "alter"]; input.action.verb == v`, `some v in ["drop", "alter"]; input.action.verb != v`,
	`some v in strong; v in input.action.verbs`, `every v in input.action.verbs { v != "drop" }`, `flag`, `not flag`, `flag == false`,
}

const helpers = `
reads if input.action.writes == false

either if input.action.verb == "drop"

either if input.action.limit == 50

is_verb(v) if input.action.verb == v

verb_of := "drop" if input.action.writes else := "alter"

strong contains "drop"

strong contains "alter" if input.action.ddl == true

level := 2 if input.action.ddl == true else := 1

default kind_of(_) := "small"

kind_of(v) := "big" if v in {"drop", "alter"}

default flag := false

flag if input.target.labels.env == "prod"
`

// TestSound: of random rules, what the checks say can never hold does not, and
// an allow that is said to be denied always is, for every input of a small
// world.
func TestSound(t *testing.T) {
	t.Chdir(t.TempDir())
	rnd := rand.New(rand.NewPCG(1, 2))
	inputs := smallWorld()
	dead, denied := 0, 0
	for round := range 40 {
		var b strings.Builder
		b.WriteString(metadata + helpers)
		for i := range 12 {
			entry := []string{"allow", "deny"}[i%2]
			n := 1 + rnd.IntN(3)
			if entry == "deny" {
				n = 1
			}
			fmt.Fprintf(&b, "\n%s contains {\"id\": \"acme.sql/%s%d\"} if {\n", entry, entry, i)
			for range n {
				b.WriteString("\t" + strings.ReplaceAll(conditions[rnd.IntN(len(conditions))], "; ", "\n\t") + "\n")
			}
			b.WriteString("}\n")
		}
		text := b.String()
		// Two conditions may declare one variable; such a rule is not Rego.
		query, err := rego.New(rego.Query("data.regate.policies.acme.sql"), rego.Module("p.rego", text)).PrepareForEval(t.Context())
		if err != nil {
			continue
		}
		r := check(t, map[string]string{"p.rego": text})
		never, covered := map[string]bool{}, map[string]bool{}
		lines := strings.Split(text, "\n")
		for _, f := range r.Findings {
			at := f.Line - 1
			for at > 0 && !strings.Contains(lines[at], `"id"`) {
				at--
			}
			_, id, _ := strings.Cut(lines[at], `"id": "`)
			id, _, _ = strings.Cut(id, `"`)
			switch f.ID {
			case idContradiction, idConstant, idStage:
				never[id] = true
				dead++
			case idDenied:
				covered[id] = true
				denied++
			}
		}
		if len(never)+len(covered) == 0 {
			continue
		}
		for _, in := range inputs {
			results, err := query.Eval(t.Context(), rego.EvalInput(in))
			if err != nil {
				t.Fatal(err)
			}
			said := results[0].Expressions[0].Value.(map[string]any)
			for _, entry := range []string{"allow", "deny"} {
				for _, e := range said[entry].([]any) {
					id := e.(map[string]any)["id"].(string)
					if never[id] {
						t.Errorf("round %d: %s holds for %v\n%s", round, id, in, text)
					}
					if covered[id] && len(said["deny"].([]any)) == 0 {
						t.Errorf("round %d: %s is not denied for %v\n%s", round, id, in, text)
					}
				}
			}
			if t.Failed() {
				return
			}
		}
	}
	if dead == 0 || denied == 0 {
		t.Errorf("%d dead rules and %d denied allows: nothing was tested", dead, denied)
	}
}

func smallWorld() []any {
	var out []any
	for _, verb := range []string{"drop", "alter", "select", "insert"} {
		for _, writes := range []bool{true, false} {
			for _, ddl := range []bool{true, false} {
				for _, limit := range []any{nil, 5, 10, 50, 200} {
					for _, labels := range []map[string]any{{}, {"env": "prod"}, {"env": "dev"}} {
						out = append(out, map[string]any{
							"action": map[string]any{"verb": verb, "verbs": []any{verb, "select"}, "writes": writes, "ddl": ddl, "limit": limit},
							"target": map[string]any{"labels": labels},
						})
					}
				}
			}
		}
	}
	return out
}
