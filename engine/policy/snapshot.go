package policy

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"

	"github.com/regate-dev/regate/engine/input"
)

// snapshot is everything that decides, compiled. It does not change once it is
// in force, but for the plans, which are made when they are first needed.
type snapshot struct {
	asked atomic.Pointer[[]readsAnswer] // what Reads has answered

	id          uint64
	base        uint64    // of a shadow bundle's world: the enforced snapshot that it was made from
	candidate   candidate // what it was made of
	activatedAt time.Time
	missing     []string             // configured bundles that were never active; any denies everything
	bundles     map[string]BundleRef // by configured name
	packages    []*pkg               // sorted by name
	allowFrom   []AllowFrom
	sensitive   []string             // fields
	newest      map[string]Sequenced // revisions in force that have a place in an order, by source
	unordered   []string             // sources in force whose revision has none

	compiler *ast.Compiler
	store    storage.Store
	txn      storage.Transaction // one read transaction for ever: nobody writes

	plans   atomic.Pointer[map[planKey]*plan]
	making  sync.Mutex
	planIDs uint64
	beside  func(planKey) readSet // what is read beside the packages here; nil: nothing

	cache *cache // nil: off
}

// pkg is one policy package.
type pkg struct {
	name         string // below regate.policies, e.g. "acme.sql"
	file         string // id of its first module
	bundle       string // configured name of the bundle that it is of
	owner        string
	path         ast.Ref
	protocols    []string // nil: every protocol
	targets      []string // globs; nil: every target
	shadow       bool
	entries      uint // bit set of entry
	booleanAllow bool // allow is a complete rule
	reads        readSet
}

func (p *pkg) has(e entry) bool { return p.entries&(1<<e) != 0 }

func (p *pkg) applies(protocol input.Protocol, target string) bool {
	return (p.protocols == nil || slices.Contains(p.protocols, string(protocol))) &&
		(p.targets == nil || matchesAny(p.targets, target))
}

// matchesAny reports whether name matches one of the globs, which were checked
// to be valid.
func matchesAny(globs []string, name string) bool {
	return slices.ContainsFunc(globs, func(g string) bool {
		ok, err := path.Match(g, name)
		return ok && err == nil
	})
}

// planKey is what decides which packages look at a document.
type planKey struct {
	protocol input.Protocol
	stage    input.Stage
	target   string
}

// maxPlans bounds the kept plans. Targets come from configuration, so it is
// never reached but by a defect; then plans are made and thrown away.
const maxPlans = 4_096

// plan is how to decide the documents of one planKey.
type plan struct {
	id        uint64 // part of every cache key
	snapshot  *snapshot
	enforced  query
	shadow    []shadowQuery
	evaluated []string // names of enforced packages
	shadows   []string // names of shadow packages
	key       keyPlan  // what a cached decision depends on
	reads     readSet  // what is made of the input, for shadow packages too
}

// query asks for the entries of some packages at once.
type query struct {
	parts    []queryPart
	body     ast.Body
	compiler ast.QueryCompiler
}

type queryPart struct {
	pkg         *pkg
	entry       entry
	optional    bool // a complete rule: an array of its value, empty when undefined
	allowCounts bool
}

type shadowQuery struct {
	pkg *pkg
	query
}

const resultVar = ast.Var("regate_result")

func (s *snapshot) plan(key planKey) (*plan, error) {
	if p, ok := (*s.plans.Load())[key]; ok {
		return p, nil
	}
	s.making.Lock()
	defer s.making.Unlock()
	plans := *s.plans.Load()
	if p, ok := plans[key]; ok {
		return p, nil
	}
	p, err := s.makePlan(key)
	if err != nil {
		return nil, err
	}
	if len(plans) < maxPlans {
		plans = maps.Clone(plans)
		plans[key] = p
		s.plans.Store(&plans)
	}
	return p, nil
}

// forgetPlans makes plans anew: what is read beside has changed.
func (s *snapshot) forgetPlans() {
	s.making.Lock()
	defer s.making.Unlock()
	s.plans.Store(&map[planKey]*plan{})
	s.asked.Store(nil)
}

func (s *snapshot) makePlan(key planKey) (*plan, error) {
	s.planIDs++
	p := &plan{id: s.planIDs, snapshot: s}
	var enforced []*pkg
	reads, shadowReads := readSet{}, readSet{}
	for _, candidate := range s.packages {
		if !candidate.applies(key.protocol, key.target) {
			continue
		}
		if candidate.shadow {
			q, err := s.query(key, candidate)
			if err != nil {
				return nil, err
			}
			p.shadow = append(p.shadow, shadowQuery{candidate, q})
			p.shadows = append(p.shadows, candidate.name)
			shadowReads = shadowReads.union(candidate.reads)
			continue
		}
		enforced = append(enforced, candidate)
		p.evaluated = append(p.evaluated, candidate.name)
		reads = reads.union(candidate.reads)
	}
	q, err := s.query(key, enforced...)
	if err != nil {
		return nil, err
	}
	p.enforced = q
	p.reads = reads.union(shadowReads).seal()
	if s.beside != nil {
		shadowReads = shadowReads.union(s.beside(key))
	}
	p.key = newKeyPlan(reads)
	// A shadow package sees every document that differs in what it reads,
	// unless that would make decisions uncacheable that are not.
	if both := newKeyPlan(reads.union(shadowReads)); both.cacheable {
		p.key = both
	}
	return p, nil
}

// query compiles one query for the entries of all packages. They come back as
// one array, so that nothing is looked up by name and nothing that is not asked
// for (helpers, entries without meaning at the stage) is evaluated.
func (s *snapshot) query(key planKey, packages ...*pkg) (query, error) {
	var q query
	var terms []*ast.Term
	for _, p := range packages {
		for e := range entryCount {
			if !p.has(e) || !asked(key.stage, e) {
				continue
			}
			part := queryPart{pkg: p, entry: e, allowCounts: s.allowCounts(key.target, p.name)}
			ref := ast.NewTerm(p.path.Append(ast.StringTerm(e.String())))
			if e == entryAllow && p.booleanAllow {
				part.optional = true
				v := ast.VarTerm("regate_value")
				ref = ast.ArrayComprehensionTerm(v, ast.NewBody(ast.Equality.Expr(v, ref)))
			}
			q.parts = append(q.parts, part)
			terms = append(terms, ref)
		}
	}
	q.compiler = s.compiler.QueryCompiler()
	body, err := q.compiler.Compile(ast.NewBody(ast.Equality.Expr(ast.NewTerm(resultVar), ast.ArrayTerm(terms...))))
	if err != nil {
		return query{}, fmt.Errorf("compile the query for target %q: %w", key.target, err)
	}
	q.body = body
	return q, nil
}

// asked reports whether an entry means anything at a stage; see combine.
func asked(stage input.Stage, e entry) bool {
	switch stage {
	case input.StageSession:
		return e != entryMask && e != entryLimit && e != entryLabel
	case input.StageResponse:
		return e != entryAllow && e != entryRequireApproval
	}
	return true
}

// allowCounts reports whether the package's allow counts for the target.
func (s *snapshot) allowCounts(target, name string) bool {
	if len(s.allowFrom) == 0 {
		return true
	}
	return slices.ContainsFunc(s.allowFrom, func(a AllowFrom) bool {
		return (len(a.Targets) == 0 || matchesAny(a.Targets, target)) && matchesAny(a.Packages, name)
	})
}

// EntriesAt are the names of the rules that mean something at a stage of a
// document ("session", "request", "response").
func EntriesAt(stage string) []string {
	var out []string
	for e := range entryCount {
		if asked(input.Stage(stage), e) {
			out = append(out, e.String())
		}
	}
	return out
}
