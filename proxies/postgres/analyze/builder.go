package analyze

import (
	"fmt"
	"slices"

	pg_query "github.com/pganalyze/pg_query_go/v5"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/postgres/catalog"
)

// Reasons why something is unknown: the stable words of input.Unknown.why.
const (
	whyNoCatalogue = "no catalogue"
	whyNotFound    = "not in catalogue"
	whyNotInScope  = "not in scope"
	whyComplex     = "too complex"
	whyNoColumns   = "a relation's columns are not known"
	whyCode        = "runs code that is not in the statement"
	whyDangerous   = "reaches data or the server beyond the statement"
	whyNode        = "not understood"
	whyEarlier     = "changed by an earlier statement of the batch"
	whyTemporary   = "may be shadowed by a temporary relation"
	whyCarrier     = "holds values of other relations"
	whyCarries     = "puts stored values where masks do not follow"
	whyNotLiteral  = "not a literal"
	whyOtherDB     = "in another database"
	whyRule        = "rewritten by a rule"
	whyDefinition  = "its definition is not resolved"
	whyNotPrepared = "not known to be prepared"
	whyNoCursor    = "not known to be open"
	whyNoType      = "type not in catalogue"
)

// builder collects the facts of one statement.
type builder struct {
	snap  *catalog.Snapshot
	set   *Settings
	state *batchState
	depth int // of views within views
	// steps are left before the statement is given up as too complex.
	steps *int
	// arguments are the values of calls' arguments, once analysed.
	arguments map[*pg_query.FuncCall][]value

	verbs     map[string]bool
	command   string
	tables    map[string]*tableFacts
	reads     map[string]*source
	predicate map[string]*source
	written   map[string]*source
	functions map[string]bool
	schemas   map[string]bool
	unknown   []input.Unknown
	seen      map[*pg_query.RangeVar]bool
	touched   map[string]bool               // relations in reach that are not in tables
	resolved  map[*pg_query.RangeVar]target // those of FROM clauses

	absorbed []input.SQLFlow // of a statement inside
	copies   bool            // what effects.Creates makes is filled with what its query gives now
	// copiesMore: with columns, too, that are not known.
	copiesMore bool

	action    input.SQLAction
	statement input.SQLStatement
	kind      string   // resource.kind where it is not plain from the rest
	names     []string // resource.names, likewise
	settings  map[string]bool
	effects   Effects
	unsafe    bool // names matter: a change earlier in the batch makes it unknown
	cacheable bool

	outputs     []Output
	outputKnown bool
	returnsRows bool
}

type tableFacts struct {
	kind    string
	access  map[string]bool
	columns map[string]bool
	written map[string]bool
	via     map[string]bool
}

// budget is how many steps the analysis of a text of so many bytes may take.
// One step a node is the rule; recursive queries within recursive queries take
// several rounds each, and would take for ever.
func budget(bytes int) *int {
	steps := 50_000 + 8*bytes
	return &steps
}

// step counts one step, and says whether there was one left.
func (b *builder) step() bool {
	if *b.steps > 0 {
		*b.steps--
		return true
	}
	b.hides("statement", "", whyComplex)
	return false
}

func newBuilder(snap *catalog.Snapshot, set *Settings, state *batchState, steps *int) *builder {
	return &builder{
		snap: snap, set: set, state: state, steps: steps,
		arguments: map[*pg_query.FuncCall][]value{},
		verbs:     map[string]bool{},
		tables:    map[string]*tableFacts{},
		reads:     map[string]*source{},
		predicate: map[string]*source{},
		written:   map[string]*source{},
		functions: map[string]bool{},
		schemas:   map[string]bool{},
		settings:  map[string]bool{},
		seen:      map[*pg_query.RangeVar]bool{},
		touched:   map[string]bool{},
		resolved:  map[*pg_query.RangeVar]target{},
		cacheable: true,
	}
}

// dontKnow notes one thing that is not resolved.
func (b *builder) dontKnow(kind, name, why string) {
	u := input.Unknown{What: kind, Why: why}
	if name != "" {
		u.What = fmt.Sprintf("%s:%q", kind, name)
	}
	if !slices.Contains(b.unknown, u) {
		b.unknown = append(b.unknown, u)
	}
}

// hides notes code that will run and is not in the statement.
func (b *builder) hides(kind, name, why string) {
	b.action.Opaque = true
	b.dontKnow(kind, name, why)
}

func (b *builder) table(name, kind string) *tableFacts {
	t := b.tables[name]
	if t == nil {
		t = &tableFacts{
			kind: kind, access: map[string]bool{}, columns: map[string]bool{},
			written: map[string]bool{}, via: map[string]bool{},
		}
		b.tables[name] = t
	}
	return t
}

// read notes that a value's columns are read; filter says that they decide
// which rows come, or in what order.
func (b *builder) read(v value, filter bool) {
	for _, s := range v.from {
		b.reads[s.name] = s
		if filter {
			b.predicate[s.name] = s
		}
	}
}

func (b *builder) verb(v string) { b.verbs[v] = true }
