package lint

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/policy"
)

// pkg is one Rego package.
type pkg struct {
	path       ast.Ref
	policy     bool   // below data.regate.policies
	name       string // below regate.policies: "acme.sql"
	shadow     bool
	protocols  []input.Protocol // that its rules may see
	declared   []input.Protocol // custom.regate.protocols; nil: all
	targets    bool             // it is for some targets only
	schema     bool             // METADATA says what input is
	annotation *ast.Annotations // nil: no METADATA
	first      *ast.Location    // of its package clause, in its first file
	rules      []*rule
}

// rule is one rule of the compiled modules.
type rule struct {
	ast   *ast.Rule
	pkg   *pkg
	name  string
	entry string // allow, deny, …; "" for a helper
	uses  uses   // what its being true does
}

// uses says what becomes of a rule's truth: bits.
type uses uint

const (
	grants    uses = 1 << iota // it helps to allow
	restricts                  // it helps to deny, mask, limit, hold or record
	valued                     // its value goes somewhere
)

var policiesRoot = ast.MustParseRef("data.regate.policies")

// survey lists packages and rules of the compiled modules.
func (c *checker) survey() {
	annotations := c.compiler.GetAnnotationSet()
	for _, file := range sortedKeys(c.compiler.Modules) {
		m := c.compiler.Modules[file]
		key := m.Package.Path.String()
		p := c.packages[key]
		if p == nil {
			p = &pkg{path: m.Package.Path, first: m.Package.Location}
			if m.Package.Path.HasPrefix(policiesRoot) && len(m.Package.Path) > len(policiesRoot) {
				p.policy = true
				var parts []string
				for _, t := range m.Package.Path[len(policiesRoot):] {
					parts = append(parts, strings.Trim(t.String(), `"`))
				}
				p.name = strings.Join(parts, ".")
			}
			if annotations != nil {
				p.annotate(annotations.GetPackageScope(m.Package))
			}
			c.packages[key] = p
		}
		for _, r := range m.Rules {
			one := &rule{ast: r, pkg: p, name: ruleName(r)}
			if p.policy && slices.Contains(policy.EntryNames(), one.name) {
				one.entry = one.name
			}
			p.rules = append(p.rules, one)
			c.rules = append(c.rules, one)
			for e := r; e != nil; e = e.Else {
				c.byAST[e] = one
			}
		}
	}
	for _, r := range c.rules {
		switch r.entry {
		case "":
		case "allow":
			c.spread(r, grants)
		default:
			c.spread(r, restricts)
		}
	}
}

func ruleName(r *ast.Rule) string {
	ref := r.Head.Ref()
	if len(ref) == 0 {
		return ""
	}
	switch v := ref[0].Value.(type) {
	case ast.Var:
		return string(v)
	case ast.String:
		return string(v)
	}
	return ""
}

// annotate reads the package's METADATA, as far as it can be read: what is
// wrong with it is reported elsewhere.
func (p *pkg) annotate(a *ast.Annotations) {
	p.protocols = input.Protocols()
	p.annotation = a
	if a == nil {
		return
	}
	if custom, ok := a.Custom["regate"].(map[string]any); ok {
		p.shadow = custom["mode"] == "shadow"
		list, _ := custom["protocols"].([]any)
		for _, v := range list {
			if s, ok := v.(string); ok && slices.Contains(input.Protocols(), input.Protocol(s)) {
				p.declared = append(p.declared, input.Protocol(s))
			}
		}
		if p.declared != nil {
			p.protocols = p.declared
		}
		targets, _ := custom["targets"].([]any)
		p.targets = len(targets) > 0
	}
	for _, s := range a.Schemas {
		if len(s.Path) != 1 || !s.Path[0].Equal(ast.InputRootDocument) {
			continue
		}
		p.schema = true
		if len(s.Schema) != 2 || p.declared != nil {
			continue
		}
		if name, ok := s.Schema[1].Value.(ast.String); ok && slices.Contains(input.Protocols(), input.Protocol(name)) {
			p.protocols = []input.Protocol{input.Protocol(name)}
		}
	}
}

// spread notes what the truth of a rule, and of every rule that it asks, does.
func (c *checker) spread(r *rule, u uses) {
	if r.uses&u == u {
		return
	}
	r.uses |= u
	for e := r.ast; e != nil; e = e.Else {
		c.spreadBody(e.Body, u)
		for _, t := range []*ast.Term{e.Head.Key, e.Head.Value} {
			if t != nil {
				c.spreadValues(t)
			}
		}
	}
}

func (c *checker) spreadBody(body ast.Body, u uses) {
	for _, e := range body {
		own := u
		if e.Negated {
			switch u {
			case grants:
				own = restricts
			case restricts:
				own = grants
			}
		}
		switch terms := e.Terms.(type) {
		case *ast.Term:
			if ref, ok := terms.Value.(ast.Ref); ok {
				if rules, rest := c.rulesOf(ref); len(rules) > 0 && len(rest) == 0 {
					for _, callee := range rules {
						c.spread(callee, own)
					}
					continue
				}
			}
		case []*ast.Term:
			if ref, ok := terms[0].Value.(ast.Ref); ok && !isBuiltin(ref) {
				rules, _ := c.rulesOf(ref)
				for _, callee := range rules {
					if len(terms)-1 == len(callee.ast.Head.Args) {
						c.spread(callee, own)
					} else {
						c.spread(callee, valued)
					}
				}
				for _, t := range terms[1:] {
					c.spreadValues(t)
				}
				continue
			}
		case *ast.Every:
			c.spreadValues(terms.Domain)
			c.spreadBody(terms.Body, own)
			continue
		case *ast.LogicalAnd:
			c.spreadBody(terms.Lhs, own)
			c.spreadBody(terms.Rhs, own)
			continue
		case *ast.LogicalOr:
			c.spreadBody(terms.Lhs, own)
			c.spreadBody(terms.Rhs, own)
			continue
		}
		c.spreadValues(e)
	}
}

// spreadValues marks the rules whose value is used.
func (c *checker) spreadValues(x any) {
	ast.WalkRefs(x, func(ref ast.Ref) bool {
		rules, _ := c.rulesOf(ref)
		for _, callee := range rules {
			c.spread(callee, valued)
		}
		return false
	})
}

func isBuiltin(ref ast.Ref) bool { return !ref[0].Equal(ast.DefaultRootDocument) }

// rulesOf returns the rules that a ref names, and what of the ref goes on into
// their value.
func (c *checker) rulesOf(ref ast.Ref) ([]*rule, ast.Ref) {
	if len(ref) < 2 || !ref[0].Equal(ast.DefaultRootDocument) {
		return nil, nil
	}
	prefix := ref.GroundPrefix()
	for n := len(prefix); n > 1; n-- {
		found, ok := c.memo.rules[prefix[:n].String()]
		if !ok {
			for _, r := range c.compiler.GetRulesExact(prefix[:n]) {
				if known := c.byAST[r]; known != nil {
					found = append(found, known)
				}
			}
			if c.memo.rules == nil {
				c.memo.rules = map[string][]*rule{}
			}
			c.memo.rules[prefix[:n].String()] = found
		}
		if len(found) > 0 {
			return found, ref[n:]
		}
	}
	return nil, nil
}
