package prove

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/regate-dev/regate/engine/policy"
)

// Rule is a place in the policies.
type Rule struct {
	ID      string `json:"id"`
	Package string `json:"package"` // below regate.policies; "" where it is not known
	Entry   string `json:"entry"`   // allow, deny, …
	File    string `json:"file"`
	Line    int    `json:"line"`
}

// ruleIndex finds the rule that says an id.
type ruleIndex struct {
	byID map[string]Rule
}

var entries = policy.EntryNames()

func newRuleIndex(set *policy.Set) *ruleIndex {
	x := &ruleIndex{byID: map[string]Rule{}}
	for _, p := range set.Packages() {
		for _, file := range p.Files {
			for _, r := range set.Compiler().Modules[file].Rules {
				x.rule(p, r)
			}
		}
	}
	return x
}

func (x *ruleIndex) rule(p policy.PackageInfo, r *ast.Rule) {
	ref := r.Head.Ref()
	name := ""
	switch v := ref[0].Value.(type) {
	case ast.Var:
		name = string(v)
	case ast.String:
		name = string(v)
	}
	if !slices.Contains(entries, name) || r.Location == nil {
		return
	}
	at := Rule{Package: p.Name, Entry: name, File: r.Location.File, Line: r.Location.Row}
	// An id is text somewhere in the rule; that of a plain string or a boolean
	// is the rule's own path.
	ids := []string{strings.TrimPrefix(p.Path, "data.") + "." + name, p.Path + "." + name}
	ast.WalkTerms(r, func(t *ast.Term) bool {
		if s, ok := t.Value.(ast.String); ok {
			ids = append(ids, string(s))
		}
		return false
	})
	for _, id := range ids {
		if _, ok := x.byID[id]; !ok {
			x.byID[id] = at
		}
	}
}

// find returns the place of an id. An id that a rule puts together is found by
// what it begins with.
func (x *ruleIndex) find(id string) Rule {
	r, ok := x.byID[id]
	longest := 3
	for text, at := range x.byID {
		begin, _, _ := strings.Cut(text, "%") // of sprintf
		if !ok && len(begin) > longest && strings.HasPrefix(id, begin) {
			longest, r = len(begin), at
		}
	}
	r.ID = id
	return r
}
