package prove

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/policy"
)

// Finding is a field whose absence makes a decision more permissive.
type Finding struct {
	Rule      Rule   `json:"rule"`
	Field     string `json:"field"`     // "input.action.verbs"
	Mutations []Kind `json:"mutations"` // what was done to the field
	Gained    bool   `json:"gained"`    // the rule speaks when it should not; else it falls silent
	Before    string `json:"before"`
	After     string `json:"after"`
	From      string `json:"from"`  // the first input that shows it
	Count     int    `json:"count"` // in how many inputs
	// Guard says that the decision is that of the rule's package, which allows
	// nothing, if another package allows the request.
	Guard bool `json:"guard"`
	// Note says that the field may be null and was made null: the document then
	// says something else that may be true, as that nobody acts for the subject.
	// Whether that should let more through is for a person to say.
	Note bool   `json:"note"`
	Fix  string `json:"fix"`
}

// MutationOptions bound the mutation test.
type MutationOptions struct {
	// Except are fields that are left as they are, with what is below them:
	// "input.subject.claims".
	Except []string
	// Workers is how many inputs are tried at once; 0 means one for each core.
	Workers int
}

// Failures are the findings that are no notes.
func (r *MutationReport) Failures() []Finding {
	return slices.DeleteFunc(slices.Clone(r.Findings), func(f Finding) bool { return f.Note })
}

// Notes are the findings that a person has to judge.
func (r *MutationReport) Notes() []Finding {
	return slices.DeleteFunc(slices.Clone(r.Findings), func(f Finding) bool { return !f.Note })
}

// MutationReport is what the mutation test found.
type MutationReport struct {
	Findings  []Finding `json:"findings"`
	Inputs    int       `json:"inputs"`    // different to those packages that speak
	Mutations int64     `json:"mutations"` // evaluated
	Fields    int       `json:"fields"`    // different ones
}

// Mutate tries every case with each field that the policies read missing, null
// and of another type. cases yields documents until it returns false.
func Mutate(ctx context.Context, set *policy.Set, cases func(yield func(Case) bool), o MutationOptions) (*MutationReport, error) {
	schemas, err := readSchemas()
	if err != nil {
		return nil, err
	}
	bases, err := skeletons(schemas)
	if err != nil {
		return nil, err
	}
	m := &mutator{
		ctx: ctx, set: set, except: o.Except, schemas: schemas, bases: bases, rules: newRuleIndex(set),
		over: newOverlays(set), findings: map[string]*Finding{}, tried: map[[sha256.Size]byte]bool{}, fields: map[string]bool{},
	}
	work := make(chan Case)
	var workers sync.WaitGroup
	for range cmp.Or(o.Workers, runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			for c := range work {
				if err := m.try(c); err != nil {
					m.fail(err)
				}
			}
		})
	}
	for c := range cases {
		if ctx.Err() != nil || m.failed() != nil {
			break
		}
		work <- c
	}
	close(work)
	workers.Wait()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("mutate inputs: %w", context.Cause(ctx))
	}
	if err := m.failed(); err != nil {
		return nil, err
	}
	return m.report(), nil
}

type mutator struct {
	ctx     context.Context
	set     *policy.Set
	except  []string
	schemas map[string]*schemaNode
	bases   map[string]ast.Object
	rules   *ruleIndex
	over    *overlays

	mu        sync.Mutex
	err       error
	tried     map[[sha256.Size]byte]bool
	findings  map[string]*Finding
	fields    map[string]bool
	inputs    int
	mutations int64
}

func (m *mutator) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.err = err
	}
}

func (m *mutator) failed() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// try mutates one document.
func (m *mutator) try(c Case) error {
	set, err := m.over.with(m.ctx, c.Data)
	if err != nil {
		return fmt.Errorf("%s: %w", c.From, err)
	}
	doc, ok := c.Input.Value.(ast.Object)
	if !ok {
		return fmt.Errorf("%s: the input is not an object", c.From)
	}
	for _, protocol := range m.protocols(doc, c.Packages) {
		whole := doc
		if base := m.bases[protocol]; base != nil {
			whole = complete(doc, base)
		}
		in, err := policy.NewInput(ast.NewTerm(whole))
		if err != nil {
			return fmt.Errorf("%s: %w", c.From, err)
		}
		m.document(set, c, in, protocol)
	}
	return nil
}

// protocols are those that a document may be of: what it says, what only one
// has, or those of the packages that its test is about.
func (m *mutator) protocols(doc ast.Object, packages []string) []string {
	if t := doc.Get(ast.StringTerm("protocol")); t != nil {
		if s, ok := t.Value.(ast.String); ok {
			return []string{string(s)}
		}
	}
	for protocol, schema := range m.schemas {
		for key := range schema.Properties {
			if m.only(key, protocol) && doc.Get(ast.StringTerm(key)) != nil {
				return []string{protocol}
			}
		}
	}
	var out []string
	for _, p := range m.set.Packages() {
		if len(packages) == 0 || slices.Contains(packages, p.Name) {
			out = append(out, p.Protocols...)
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	if len(out) == 0 { // packages for any protocol: one is like the other
		for _, protocol := range slices.Sorted(maps.Keys(m.schemas)) {
			if m.fits(doc, protocol) {
				return []string{protocol}
			}
		}
		return []string{string(input.Postgres)}
	}
	return out
}

// fits reports whether the schema has every key of the document, two deep.
func (m *mutator) fits(doc ast.Object, protocol string) bool {
	for _, k := range doc.Keys() {
		key, _ := k.Value.(ast.String)
		schema := m.schemas[protocol].Properties[string(key)]
		if schema == nil {
			return false
		}
		below, ok := doc.Get(k).Value.(ast.Object)
		if !ok || schema.isMap() {
			continue
		}
		for _, k := range below.Keys() {
			if key, _ := k.Value.(ast.String); schema.property(string(key)) == nil {
				return false
			}
		}
	}
	return true
}

// only reports whether no other protocol has a key at the top of its documents.
func (m *mutator) only(key, protocol string) bool {
	for other, schema := range m.schemas {
		if other != protocol && schema.Properties[key] != nil {
			return false
		}
	}
	return true
}

// document tries all mutations of one whole document.
func (m *mutator) document(set *policy.Set, c Case, in *policy.Input, protocol string) {
	schema := m.schemas[protocol]
	before := set.Ask(m.ctx, in, in.Term(), c.Packages)
	if len(before.Spoke) == 0 || m.known(set, in, before.Spoke) {
		return
	}
	p := m.party(set, in, before)
	var reads [][]string
	for _, name := range before.Spoke {
		reads = append(reads, set.Reads(name)...)
	}
	var count int64
	found := map[string]bool{}
	for _, f := range fieldsOf(in.Term().Value.(ast.Object), schema, reads) {
		name := f.name(schema)
		if m.excepted(name) || m.ctx.Err() != nil {
			continue
		}
		found[name] = true
		for _, other := range f.mutations() {
			count++
			shown := replace(in.Term(), f.path, other.term)
			if !p.looser(m.ctx, f.path, shown) {
				continue
			}
			after := set.Ask(m.ctx, in, shown, c.Packages)
			caught := p.caught(m.ctx, shown)
			if m.ctx.Err() != nil {
				return // what was cut off says nothing
			}
			if !caught {
				m.compare(c.From, name, other.kind, f, before, after)
			}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inputs++
	m.mutations += count
	for name := range found {
		m.fields[name] = true
	}
}

func (m *mutator) excepted(name string) bool {
	return slices.ContainsFunc(m.except, func(e string) bool {
		return name == e || strings.HasPrefix(name, e+".") || strings.HasPrefix(name, e+"[")
	})
}

func (m *mutator) compare(from, name string, kind Kind, f field, before, after policy.Said) {
	for _, loss := range Loosened(before.Ruling, after.Ruling) {
		m.add(loss, false, from, name, kind, f)
	}
	if before.Guards == nil || after.Guards == nil { // nil after: denied, whatever they would say
		return
	}
	for _, loss := range Loosened(before.Guards, after.Guards) {
		m.add(loss, true, from, name, kind, f)
	}
}

// known reports whether a document has been tried that is the same to all that
// speak.
func (m *mutator) known(set *policy.Set, in *policy.Input, spoke []string) bool {
	top := map[string]bool{}
	for _, name := range spoke {
		for _, path := range set.Reads(name) {
			if len(path) == 0 {
				return false
			}
			top[path[0]] = true
		}
	}
	h := sha256.New()
	fmt.Fprintf(h, "%p %s %s %s %q\n", set, in.Protocol(), in.Stage(), in.Target(), spoke)
	doc := in.Term().Value.(ast.Object)
	for _, key := range slices.Sorted(maps.Keys(top)) {
		fmt.Fprintf(h, "%s %v\n", key, doc.Get(ast.StringTerm(key)))
	}
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	m.mu.Lock()
	defer m.mu.Unlock()
	was := m.tried[sum]
	m.tried[sum] = true
	return was
}

func (m *mutator) add(loss Loss, guard bool, from, name string, kind Kind, f field) {
	ids := loss.Rules
	if len(ids) == 0 {
		ids = []string{""}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		note := kind == Null && f.schema.is("null")
		key := strings.Join([]string{id, name, loss.Before, fmt.Sprint(note)}, "\x00")
		old := m.findings[key]
		if old == nil {
			rule := m.rules.find(id)
			old = &Finding{
				Rule: rule, Field: name, Gained: loss.Gained, Before: loss.Before, After: loss.After, From: from, Guard: guard, Note: note,
				Fix: fix(rule, name, f, loss),
			}
			m.findings[key] = old
		}
		if !slices.Contains(old.Mutations, kind) {
			old.Mutations = append(old.Mutations, kind)
		}
		if !guard && old.Guard { // the decision itself is what counts
			old.Guard, old.Before, old.After = false, loss.Before, loss.After
		}
		if from < old.From {
			old.From = from
		}
		old.Count++
	}
}

func (m *mutator) report() *MutationReport {
	out := &MutationReport{Findings: []Finding{}, Inputs: m.inputs, Mutations: m.mutations, Fields: len(m.fields)}
	for _, f := range m.findings {
		order := func(k Kind) int {
			for i := range instead {
				if instead[i].kind == k {
					return i
				}
			}
			return len(instead)
		}
		slices.SortFunc(f.Mutations, func(a, b Kind) int { return order(a) - order(b) })
		out.Findings = append(out.Findings, *f)
	}
	slices.SortFunc(out.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Rule.File, b.Rule.File), a.Rule.Line-b.Rule.Line, cmp.Compare(a.Field, b.Field), cmp.Compare(a.Rule.ID, b.Rule.ID), cmp.Compare(a.Before, b.Before))
	})
	return out
}

// fix says what to write.
func fix(rule Rule, name string, f field, loss Loss) string {
	if loss.Gained || rule.Entry == "allow" {
		return fmt.Sprintf("say in the rule what %s must be, e.g. `%s == …`, in place of `not` or `!=`: what is not known must not allow", name, name)
	}
	check := map[Kind]string{Null: "is_null", String: "is_string", Number: "is_number", Boolean: "is_boolean", Array: "is_array", Object: "is_object"}[kindOf(f.value.Value)]
	id, _, _ := strings.Cut(rule.ID, "/")
	known := fmt.Sprintf("%s(%s)", check, name)
	if list, below, ok := strings.Cut(name, "[_]"); ok {
		known = fmt.Sprintf("every x in %s { %s(x%s) }", list, check, below)
	}
	// A function of what is missing is undefined, and so is its negation: the rule
	// of its own is needed.
	return fmt.Sprintf("deny what is not as it should be: `deny contains {\"id\": %q, \"msg\": …} if not known` with `known if %s`", id+"/input", known)
}
