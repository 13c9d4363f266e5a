package prove

import (
	"context"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/regate-dev/regate/engine/policy"
)

// party is the packages that spoke of one document. To see whether a mutation
// lets more through it is enough to ask those of them that read the field: only
// who spoke can fall silent, only who may allow can allow, and who does not read
// the field says what it said.
type party struct {
	set    *policy.Set
	in     *policy.Input
	spoke  []string
	allows bool                   // somebody allows the document
	before map[string]policy.Said // by the names of those asked
	denied []string               // ids of all denials of the document as it is; nil: not asked yet
}

func (m *mutator) party(set *policy.Set, in *policy.Input, before policy.Said) *party {
	return &party{set: set, in: in, spoke: before.Spoke, allows: before.Allows, before: map[string]policy.Said{}}
}

// readers are the packages of the party that may read what is at, above or below
// a path.
func (p *party) readers(path []string) []string {
	out := []string{}
	for _, name := range p.spoke {
		if slices.ContainsFunc(p.set.Reads(name), func(read []string) bool { return touches(read, path) }) {
			out = append(out, name)
		}
	}
	return out
}

// touches reports whether one path is a prefix of the other. "*" is any key.
func touches(read, path []string) bool {
	for i := range min(len(read), len(path)) {
		if read[i] != "*" && read[i] != path[i] {
			return false
		}
	}
	return true
}

// looser reports whether those who read the field let more through.
func (p *party) looser(ctx context.Context, path []string, shown *ast.Term) bool {
	readers := p.readers(path)
	key := strings.Join(readers, " ")
	before, ok := p.before[key]
	if !ok {
		before = p.set.Ask(ctx, p.in, p.in.Term(), readers)
		p.before[key] = before
	}
	after := p.set.Ask(ctx, p.in, shown, readers)
	if after.Restrict == nil || before.Restrict == nil { // nil: something went wrong, which denies
		return before.Restrict == nil && after.Restrict != nil
	}
	return after.Allows && !p.allows || len(Loosened(before.Restrict, after.Restrict)) > 0
}

// caught reports whether some package, of all that there are, newly denies the
// changed document: one that guards the others.
func (p *party) caught(ctx context.Context, shown *ast.Term) bool {
	if p.denied == nil {
		p.denied = append([]string{}, denials(p.set.Ask(ctx, p.in, p.in.Term(), nil))...)
	}
	after := p.set.Ask(ctx, p.in, shown, nil)
	return after.Restrict == nil || len(lost(denials(after), p.denied)) > 0
}

func denials(s policy.Said) []string {
	if s.Restrict == nil || s.Restrict.Effect != policy.Deny {
		return nil
	}
	return reasons(s.Restrict)
}
