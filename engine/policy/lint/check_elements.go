package lint

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/policy"
)

// element is the element that an entry says, as it is written: the values of
// its keys may be known only when it is evaluated.
type element struct {
	rule *rule
	head *ast.Term
	obj  ast.Object // nil: not an object literal
	env  *env
}

// elementsOf returns the elements of all entries.
func (c *checker) elementsOf() []element {
	var out []element
	for _, r := range c.rules {
		if r.entry == "" || r.ast.Head.RuleKind() != ast.MultiValue || r.ast.Head.Key == nil {
			continue
		}
		e := element{rule: r, head: r.ast.Head.Key, env: c.envOf(r.ast, 0)}
		head := e.head
		if val := c.eval(head, e.env, 0); len(val.terms) == 1 {
			head = val.terms[0]
			if val.env != nil {
				e.env = val.env
			}
		}
		e.obj, _ = head.Value.(ast.Object)
		out = append(out, e)
	}
	return out
}

// placeholders stand for what is known only when an element is evaluated.
var placeholders = map[string]*ast.Term{
	"id": ast.StringTerm("a.b/c"), "msg": ast.StringTerm("m"), "hint": ast.StringTerm("h"), "severity": ast.StringTerm("low"),
	"from": ast.ArrayTerm(ast.StringTerm("any")), "count": ast.IntNumberTerm(1), "ttl": ast.StringTerm("15m"), "wait": ast.StringTerm("1s"),
	"field": ast.StringTerm("a.b.c"), "detect": nil, "method": ast.StringTerm("partial"),
	"keep": ast.IntNumberTerm(1), "keep_first": ast.IntNumberTerm(1), "keep_domain": ast.BooleanTerm(true),
	"rows": ast.IntNumberTerm(1), "bytes": ast.IntNumberTerm(1), "seconds": ast.IntNumberTerm(1), "level": ast.StringTerm("full"),
	"label": ast.StringTerm("l"), "scope": ast.StringTerm("task"),
}

// checkElements holds what entries say to the contract, as far as it is known
// before they say it.
func (c *checker) checkElements() {
	for _, e := range c.elementsOf() {
		switch v := e.head.Value.(type) {
		case ast.Number, ast.Boolean, ast.Null, *ast.Array, ast.Set:
			c.at(idElement, e.rule, e.head.Location, "", "%s says %s: want an object with an id", e.rule.entry, ast.ValueName(v))
			continue
		case ast.String:
			if e.rule.entry != "deny" {
				c.at(idElement, e.rule, e.head.Location, "", "%s says a string: want an object with an id", e.rule.entry)
			}
			continue
		}
		if e.obj == nil {
			continue
		}
		var pairs [][2]*ast.Term
		e.obj.Foreach(func(k, val *ast.Term) {
			known := c.eval(val, e.env, 0)
			if len(known.terms) == 1 && known.terms[0].IsGround() {
				val = known.terms[0]
			}
			key, _ := k.Value.(ast.String)
			if !val.IsGround() {
				val = placeholders[string(key)]
				if key == "detect" && c.DetectKinds != nil {
					val = ast.StringTerm(c.DetectKinds[0])
				} else if key == "detect" {
					val = ast.StringTerm("email")
				} else if val == nil {
					val = ast.StringTerm("x") // of a key that is wrong anyway
				}
			}
			pairs = append(pairs, [2]*ast.Term{k, val})
		})
		protocol := input.Protocol("")
		if len(e.rule.pkg.declared) == 1 {
			protocol = e.rule.pkg.declared[0]
		}
		if err := policy.CheckElement(e.rule.entry, protocol, c.DetectKinds, ast.NewObject(pairs...)); err != nil {
			loc, fix := e.locate(err.Error())
			c.at(idElement, e.rule, loc, fix, "%s: %s", e.rule.entry, err)
		}
	}
}

var leadingKey = regexp.MustCompile(`^([a-z_]+)\b`)

// locate finds the key that an error is about.
func (e *element) locate(text string) (*ast.Location, string) {
	loc, fix := e.head.Location, ""
	known := knownKeys()
	name := leadingKey.FindString(text)
	e.obj.Foreach(func(k, _ *ast.Term) {
		key, ok := k.Value.(ast.String)
		if !ok || k.Location == nil || k.Location.Row == 0 {
			return
		}
		switch {
		case strings.HasPrefix(text, "unknown key") && !slices.Contains(known, string(key)):
			loc = k.Location
			if best := closest(string(key), known); best != "" {
				fix = "did you mean " + strconv.Quote(best) + "?"
			}
		case string(key) == name:
			loc = k.Location
		}
	})
	return loc, fix
}

func knownKeys() []string { return sortedKeys(placeholders) }
