package backtest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"

	"github.com/regate-dev/regate/engine/policy/corpus"
)

// draft writes Rego for shapes.
type draft struct {
	options    *SuggestOptions
	shapes     []*shape
	principals []corpus.Agent
	from       *Suggestion
}

// files returns the draft: a package for each protocol, its tests, and the
// manifest of the bundle that they are.
func (d *draft) files() (map[string]string, error) {
	slices.SortFunc(d.principals, func(a, b corpus.Agent) int {
		return cmp.Or(strings.Compare(a.Actor, b.Actor), strings.Compare(a.ActorIssuer, b.ActorIssuer),
			strings.Compare(a.SubjectIssuer, b.SubjectIssuer), strings.Compare(a.Subject, b.Subject))
	})
	byProtocol := map[string][]*shape{}
	for _, s := range d.shapes {
		byProtocol[s.protocol] = append(byProtocol[s.protocol], s)
	}
	out := map[string]string{}
	roots := []string{}
	for _, protocol := range slices.Sorted(maps.Keys(byProtocol)) {
		pkg := d.options.Package
		if len(byProtocol) > 1 {
			pkg += "_" + identifier(protocol)
		}
		name := pkg[strings.LastIndexByte(pkg, '.')+1:]
		ids := ruleIDs(pkg, byProtocol[protocol])
		for file, text := range map[string]string{
			name + ".rego":      d.policy(pkg, protocol, ids, byProtocol[protocol]),
			name + "_test.rego": d.tests(pkg, ids, byProtocol[protocol]),
		} {
			formatted, err := format.SourceWithOpts(file, []byte(text), format.Opts{RegoVersion: ast.RegoV1})
			if err != nil {
				return nil, fmt.Errorf("the draft is not Rego: %w", err)
			}
			out[file] = string(formatted)
		}
		roots = append(roots, "regate/policies/"+strings.ReplaceAll(pkg, ".", "/"), "regate/policies/"+strings.ReplaceAll(pkg, ".", "/")+"_test")
	}
	manifest, err := json.MarshalIndent(map[string]any{"roots": roots, "rego_version": 1}, "", "  ")
	if err != nil {
		return nil, err
	}
	out[".manifest"] = string(manifest) + "\n"
	return out, nil
}

// ruleIDs names the rules: "drafts.agent_7/select-public.users".
func ruleIDs(pkg string, shapes []*shape) []string {
	used := map[string]int{}
	ids := make([]string, len(shapes))
	for i, s := range shapes {
		id := pkg + "/" + s.verb
		if s.subject != "" && s.stage != "session" {
			id += "-" + idWord(s.subject)
		}
		if len(id) > 120 {
			id = id[:120]
		}
		used[id]++
		if n := used[id]; n > 1 {
			id = fmt.Sprintf("%s-%d", id, n)
		}
		ids[i] = id
	}
	return ids
}

func idWord(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._+/:-", r) {
			return r
		}
		return '_'
	}, s)
}

func (d *draft) policy(pkg, protocol string, ids []string, shapes []*shape) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# DRAFT, made by `regate policy suggest` for a person to read, edit and own.")
	line("#")
	line("# It allows what %s did and was allowed to do%s,", comment(d.options.Agent), d.when())
	line("# and decides nothing before its mode is set to enforce. What an agent did is not")
	line("# what it should do: take out what it does not need, and say why it needs the rest.")
	line("# %d of its %d allowed requests are covered, by %d rules.", d.from.Covered, d.from.Allowed, len(d.shapes))
	for _, c := range d.from.LeftOut {
		line("# Left out: %d: %s.", c.Count, comment(c.Name))
	}
	line("#")
	line("# METADATA")
	line("# title: %s", quoted("Draft: what "+plain(d.options.Agent)+" did"))
	line("# scope: package")
	line("# schemas:")
	line("#   - input: schema.%s", protocol)
	line("# custom:")
	line("#   regate: {protocols: [%s], mode: shadow}", protocol)
	line("package regate.policies.%s\n", pkg)
	for i, s := range shapes {
		d.rule(&b, ids[i], s)
	}
	d.helpers(&b)
	return b.String()
}

func (d *draft) when() string {
	if d.from.First == nil {
		return ""
	}
	const day = "2006-01-02"
	first, last := d.from.First.Format(day), d.from.Last.Format(day)
	if first == last {
		return " on " + first
	}
	return " from " + first + " to " + last
}

func (d *draft) rule(b *strings.Builder, id string, s *shape) {
	if s.count == 1 {
		b.WriteString("# 1 request.\n")
	} else {
		fmt.Fprintf(b, "# %d requests.\n", s.count)
	}
	seen := map[string]bool{}
	for _, e := range s.statements.kept {
		if e.Statement != "" && !seen[e.Statement] {
			seen[e.Statement] = true
			fmt.Fprintf(b, "#   %s\n", comment(e.Statement))
		}
	}
	fmt.Fprintf(b, "allow contains {\"id\": %s} if {\n", quoted(id))
	fmt.Fprintf(b, "input.stage == %s\n", quoted(s.stage))
	for _, p := range s.fixed {
		fmt.Fprintf(b, "%s\n", p.condition())
	}
	b.WriteString("is_known\nis_agent\n")
	for _, path := range slices.Sorted(maps.Keys(s.lists)) {
		within(b, "input."+path, s.lists[path])
	}
	for _, table := range slices.Sorted(maps.Keys(s.written)) {
		within(b, "input.resource.tables["+quoted(table)+"].written", s.written[table])
	}
	b.WriteString("}\n\n")
}

// condition holds where the pinned part is as it was. It is of a form that the
// rule index takes.
func (p pin) condition() string {
	var ref strings.Builder
	ref.WriteString("input")
	for i, key := range p.path {
		if i < 2 { // keys of the contract; below them are names
			ref.WriteString("." + key)
		} else if key == "access" {
			ref.WriteString(".access")
		} else if p.path[i-1] == "tables" {
			ref.WriteString("[" + quoted(key) + "]")
		} else {
			ref.WriteString("." + key)
		}
	}
	if string(p.value) == "null" {
		return "is_null(" + ref.String() + ")"
	}
	return ref.String() + " == " + string(p.value)
}

// within asks that a list names nothing but these.
func within(b *strings.Builder, path string, names []string) {
	if len(names) == 0 {
		fmt.Fprintf(b, "count(%s) == 0\n", path)
		return
	}
	quotedNames := make([]string, len(names))
	for i, n := range names {
		quotedNames[i] = quoted(n)
	}
	fmt.Fprintf(b, "every name in %s {\nname in {%s}\n}\n", path, strings.Join(quotedNames, ", "))
}

func (d *draft) helpers(b *strings.Builder) {
	b.WriteString("# Everything in the request is known by name.\n")
	b.WriteString("is_known if {\ninput.complete == true\ninput.action.opaque == false\ncount(input.unknown) == 0\n}\n\n")
	type actor struct{ id, issuer string }
	subjects := map[actor][]string{}
	var actors []actor
	for _, p := range d.principals {
		a := actor{p.Actor, p.ActorIssuer}
		if subjects[a] == nil {
			actors = append(actors, a)
		}
		subjects[a] = append(subjects[a], fmt.Sprintf("[%s, %s]", quoted(p.SubjectIssuer), quoted(p.Subject)))
	}
	for _, a := range actors {
		if d.options.Group != "" {
			b.WriteString("# Whoever is in the group, as was asked for.\n")
		}
		b.WriteString("is_agent if {\n")
		if a.id == "" {
			b.WriteString("is_null(input.actor)\n")
		} else {
			fmt.Fprintf(b, "input.actor.id == %s\ninput.actor.issuer == %s\n", quoted(a.id), quoted(a.issuer))
		}
		if d.options.Group != "" {
			fmt.Fprintf(b, "%s in input.subject.groups\n", quoted(d.options.Group))
		} else {
			fmt.Fprintf(b, "[input.subject.issuer, input.subject.id] in {%s}\n", strings.Join(subjects[a], ", "))
		}
		b.WriteString("}\n\n")
	}
}

// tests holds each rule to an input that it was made from, and to others that it
// must not allow.
func (d *draft) tests(pkg string, ids []string, shapes []*shape) string {
	var b strings.Builder
	name := pkg[strings.LastIndexByte(pkg, '.')+1:]
	fmt.Fprintf(&b, "# DRAFT: tests of what `regate policy suggest` made.\npackage regate.policies.%s_test\n\nimport data.regate.policies.%s\n\n", pkg, pkg)
	for i, s := range shapes {
		n := i + 1
		fmt.Fprintf(&b, "request_%d := %s\n\n", n, d.document(s))
		fmt.Fprintf(&b, "test_%d_allowed if {\n{\"id\": %s} in %s.allow with input as request_%d\n}\n\n", n, quoted(ids[i]), name, n)
		for _, c := range []struct{ name, change string }{
			{"somebody_else", `{"subject": {"id": "somebody else", "issuer": "https://issuer.example", "groups": []}}`},
			{"another_actor", `{"actor": {"id": "somebody else", "issuer": "https://issuer.example", "groups": []}}`},
			{"incomplete", `{"complete": false}`},
			{"unknown", `{"unknown": [{"what": "relation", "why": "not in catalogue"}]}`},
			{"opaque", `{"action": {"opaque": true}}`},
			{"another_target", `{"target": {"name": "another target"}}`},
			{"another_verb", `{"action": {"verb": "no such verb"}}`},
		} {
			fmt.Fprintf(&b, "test_%d_not_%s if {\ncount(%s.allow) == 0 with input as object.union(request_%d, %s)\n}\n\n", n, c.name, name, n, c.change)
		}
	}
	return b.String()
}

// document is an input that the rule of a shape allows: what the rule reads, and
// nothing else of what was recorded.
func (d *draft) document(s *shape) string {
	doc := map[string]any{}
	put := func(value any, path ...string) {
		at := doc
		for _, key := range path[:len(path)-1] {
			next, ok := at[key].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[key] = next
			}
			at = next
		}
		at[path[len(path)-1]] = value
	}
	put(s.protocol, "protocol")
	put(s.stage, "stage")
	put(true, "complete")
	put([]any{}, "unknown")
	put(false, "action", "opaque")
	for _, p := range s.fixed {
		put(p.value, p.path...)
	}
	for path, names := range s.lists {
		put(append([]string{}, names...), strings.Split(path, ".")...)
	}
	for table, names := range s.written {
		put(append([]string{}, names...), "resource", "tables", table, "written")
	}
	who := d.principals[0]
	groups := []string{}
	if d.options.Group != "" {
		groups = append(groups, d.options.Group)
	}
	put(map[string]any{"id": who.Subject, "issuer": who.SubjectIssuer, "groups": groups}, "subject")
	doc["actor"] = nil
	if who.Actor != "" {
		put(map[string]any{"id": who.Actor, "issuer": who.ActorIssuer, "groups": []string{}}, "actor")
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		return "{}" // never: every part was JSON before
	}
	return string(raw)
}

// quoted is a Rego string.
func quoted(s string) string {
	raw, err := json.Marshal(s)
	if err != nil {
		return `""` // never: any string marshals
	}
	return string(raw)
}

// comment makes text that stays in one line of a comment.
func comment(s string) string { return plain(s) }

func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == '`' {
			return ' '
		}
		return r
	}, s)
}
