package policies_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/policies"
)

// page is where a pack's page is.
func page(p policies.Pack) string {
	return filepath.Join("..", "docs", "packs", filepath.FromSlash(p.Name)+".md")
}

// Each row of a table of examples in a pack's page is what happens: the request
// is read by the proxy's own code, and decided by the pack with the settings
// that the page gives above the table. A pack that allows nothing itself has a
// policy beside it that allows everything.
func TestExamples(t *testing.T) {
	world := newWorld(t)
	packs, err := policies.Packs()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packs {
		t.Run(p.Name, func(t *testing.T) {
			raw, err := os.ReadFile(page(p))
			if err != nil {
				t.Fatal(err)
			}
			effects := map[string]int{}
			for _, e := range examples(t, string(raw)) {
				got := e.outcome(t, world, p)
				if got != e.want {
					t.Errorf("%s:%d: %s\n got %s\nwant %s", page(p), e.line, e.cells, got, e.want)
				}
				word, _, _ := strings.Cut(strings.FieldsFunc(got+" ", func(r rune) bool { return r == ' ' || r == ',' || r == ':' })[0], ":")
				effects[word]++
			}
			for _, r := range p.Rules {
				if says := map[string]string{"deny": "refused", "require_approval": "held", "allow": "allowed"}[r.Kind]; says != "" && effects[says] == 0 && !strings.HasSuffix(r.ID, "/settings") && !strings.HasSuffix(r.ID, "/input") {
					t.Errorf("no example of what is %s", says)
				}
			}
			if effects["allowed"] == 0 {
				t.Error("no example of what is allowed")
			}
		})
	}
}

// example is one row.
type example struct {
	line     int
	settings string
	cells    map[string]string
	want     string
}

// examples reads the tables below the heading Examples.
func examples(t *testing.T, text string) []example {
	t.Helper()
	var out []example
	var heads []string
	settings, block, reading, inBlock := "{}", "", false, false
	for i, line := range strings.Split(text, "\n") {
		switch {
		case line == "## Examples":
			reading = true
		case !reading:
		case line == "```json":
			inBlock, block = true, ""
		case inBlock && line == "```":
			inBlock, settings = false, block
		case inBlock:
			block += line + "\n"
		case !strings.HasPrefix(line, "|"):
			heads = nil
		case heads == nil:
			heads = cells(line)
		case strings.HasPrefix(line, "|--"):
		default:
			row := map[string]string{}
			for n, c := range cells(line) {
				row[heads[n]] = c
			}
			out = append(out, example{line: i + 1, settings: settings, cells: row, want: row["outcome"]})
			delete(row, "outcome")
		}
	}
	if len(out) == 0 {
		t.Fatal("no examples")
	}
	return out
}

func cells(line string) []string {
	parts := strings.Split(strings.Trim(line, "|"), "|")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

var code = regexp.MustCompile("`([^`]+)`")

// spans are the pieces of code in a cell.
func spans(cell string) []string {
	var out []string
	for _, m := range code.FindAllStringSubmatch(cell, -1) {
		out = append(out, m[1])
	}
	return out
}

// outcome decides the example.
func (e example) outcome(t *testing.T, w *world, p policies.Pack) string {
	t.Helper()
	doc, refused := w.document(t, e.cells)
	if refused != "" {
		return "refused: `" + refused + "`"
	}
	doc.Usage = used(t, e.cells["used"], doc)
	if by := e.cells["approved by"]; by != "" {
		for _, who := range strings.Split(by, ";") {
			name, groups, _ := strings.Cut(strings.TrimSuffix(strings.TrimSpace(who), ")"), " (")
			doc.Approvals = append(doc.Approvals, input.Approval{
				ID: "ap-1", By: input.Approver{ID: name, Issuer: "https://issuer.example", Groups: strings.Split(groups, ", ")},
				At: doc.Time.Format(time.RFC3339), ExpiresAt: doc.Time.Add(time.Minute).Format(time.RFC3339),
			})
		}
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	r, err := w.set(t, p, e.settings).Evaluate(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Errors) > 0 {
		return fmt.Sprintf("error: %s", r.Errors)
	}
	return describe(r)
}

func describe(r *policy.Ruling) string {
	ids := func(of policy.Effect) string {
		var out []string
		for _, reason := range r.Reasons {
			if reason.Effect == of {
				out = append(out, "`"+reason.ID+"`")
			}
		}
		slices.Sort(out)
		return strings.Join(slices.Compact(out), ", ")
	}
	switch r.Effect {
	case policy.Deny:
		return "refused: " + ids(policy.Deny)
	case policy.RequireApproval:
		return "held: " + ids(policy.RequireApproval)
	}
	out := "allowed"
	var masks []string
	for _, m := range r.Masks {
		if m.Field != "" {
			masks = append(masks, "`"+m.Field+"` "+m.Method)
		}
	}
	slices.Sort(masks)
	if len(masks) > 0 {
		out += ", masked: " + strings.Join(masks, ", ")
	}
	if r.Limit.Rows > 0 {
		out += fmt.Sprintf(", at most %d rows", r.Limit.Rows)
	}
	return out
}

// used is what a cell says that was used today: "900 rows", "3 sensitive by the
// task". Nothing is "".
func used(t *testing.T, cell string, doc *input.Document) *input.Spent {
	t.Helper()
	if cell == "not known" {
		return nil
	}
	out := &input.Spent{}
	asserted := doc.Asserted.Value().(input.Asserted)
	if doc.Actor.Value() != nil {
		out.Actor = &input.SpentBy{}
	}
	if asserted.Task != "" {
		out.Task = &input.SpentBy{}
	}
	for _, one := range strings.FieldsFunc(cell, func(r rune) bool { return r == ',' }) {
		f := strings.Fields(one)
		n, err := strconv.ParseInt(f[0], 10, 64)
		if err != nil {
			t.Fatalf("used: %q", cell)
		}
		counts := &out.Subject.Day
		switch strings.Join(f[2:], " ") {
		case "by the task":
			counts = &out.Task.Day
		case "by the actor":
			counts = &out.Actor.Day
		case "this hour":
			counts = &out.Subject.Hour
		}
		switch f[1] {
		case "rows":
			counts.Rows = n
		case "bytes":
			counts.Bytes = n
		case "requests":
			counts.Requests = n
		case "denied":
			counts.Denials = n
		case "sensitive":
			counts.Sensitive = n
		default:
			t.Fatalf("used: %q", cell)
		}
	}
	return out
}
