package backtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/policy/corpus"
)

// shape is what requests of one kind have in common: what a drafted rule asks
// for. Requests with equal fixed parts are one shape; its lists grow to what any
// of them named.
type shape struct {
	protocol, stage string
	fixed           []pin               // in the order of the rule
	lists           map[string][]string // path → what any request named; each is a bound
	written         map[string][]string // table → columns, as in lists
	count           int64
	verb, subject   string // for the rule's id
	name            string // see key
	statements      sample[Example]
}

// pin is one part of an input that must be exactly so.
type pin struct {
	path  []string
	value json.RawMessage // canonical
}

// merged are the lists of a resource whose members do not change what is done:
// a request may name some of them. All others must be exactly so.
var merged = []string{"argument_names", "body_names", "column_names", "field_names", "function_names", "query_names", "schema_names"}

// vague are the parts that differ between requests of one kind.
var vague = []string{"action.limit", "resource.tables", "resource.params"}

// shapeOf reads the shape of a request; unclear says why none can be drafted
// from it.
func shapeOf(r *corpus.Recorded) (s *shape, unclear string, err error) {
	var in struct {
		Complete bool              `json:"complete"`
		Unknown  []json.RawMessage `json:"unknown"`
		Target   struct {
			Name     string          `json:"name"`
			Database json.RawMessage `json:"database"`
		} `json:"target"`
		Action   map[string]json.RawMessage `json:"action"`
		Resource map[string]json.RawMessage `json:"resource"`
	}
	if err := json.Unmarshal(r.Input, &in); err != nil {
		return nil, "", fmt.Errorf("%s: input: %w", r.At(), err)
	}
	switch {
	case !in.Complete || len(in.Unknown) > 0:
		return nil, "not complete: something in it is not known", nil
	case string(in.Action["opaque"]) == "true":
		return nil, "opaque: what it runs is not in it", nil
	case !writable(r.Entry("action"), r.Entry("resource"), r.Entry("target"), r.Entry("subject"), r.Entry("actor")):
		return nil, "a name in it has control characters", nil
	case in.Action["verb"] == nil || string(in.Action["verb"]) == `"unknown"`:
		return nil, "its verb is not known", nil
	}
	s = &shape{
		protocol: text(r.Entry("protocol")), stage: r.Stage, lists: map[string][]string{}, written: map[string][]string{},
		count: 1, verb: text(in.Action["verb"]),
	}
	name, err := json.Marshal(in.Target.Name)
	if err != nil {
		return nil, "", err
	}
	s.pin(name, "target", "name")
	if len(in.Target.Database) > 2 {
		s.pin(in.Target.Database, "target", "database")
	}
	s.pin(in.Action["verb"], "action", "verb")
	s.resource(in.Resource)
	reads := string(in.Action["writes"]) == "false"
	for _, key := range slices.Sorted(maps.Keys(in.Action)) {
		switch {
		case key == "verb" || key == "opaque":
		case reads && (key == "has_where" || key == "where_constant"): // which rows are read, not what is done
		default:
			s.flat(in.Action[key], "action", key)
		}
	}
	if wild := s.wildcard(); wild != "" {
		return nil, wild, nil
	}
	s.name = s.key()
	return s, "", nil
}

// shapes remembers the shapes of what it saw last: agents repeat themselves. It
// may be used by many goroutines.
type shapes struct {
	mu    sync.Mutex
	known map[shapeKey]shapeOr
}

// shapeKey is all that a shape is read from.
type shapeKey struct {
	action, resource, target, unknown, complete, subject, actor input.Digest
	protocol, stage                                             string
}

type shapeOr struct {
	shape   *shape // nil where it is unclear; not to be changed
	unclear string
}

func newShapes() *shapes { return &shapes{known: map[shapeKey]shapeOr{}} }

// of is shapeOf; what cannot be read is unclear, too.
func (m *shapes) of(r *corpus.Recorded) (*shape, string) {
	key := shapeKey{protocol: text(r.Entry("protocol")), stage: r.Stage}
	for i := range r.Entries {
		e := &r.Entries[i]
		switch e.Key {
		case "action":
			key.action = e.Digest
		case "resource":
			key.resource = e.Digest
		case "target":
			key.target = e.Digest
		case "unknown":
			key.unknown = e.Digest
		case "complete":
			key.complete = e.Digest
		case "subject":
			key.subject = e.Digest
		case "actor":
			key.actor = e.Digest
		}
	}
	m.mu.Lock()
	known, ok := m.known[key]
	m.mu.Unlock()
	if ok {
		return known.shape, known.unclear
	}
	s, unclear, err := shapeOf(r)
	if err != nil {
		s, unclear = nil, "its input cannot be read"
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.known) >= keptPerWorker {
		clear(m.known)
	}
	m.known[key] = shapeOr{s, unclear}
	return s, unclear
}

// clone is a shape that may grow.
func (s *shape) clone() *shape {
	c := *s
	c.lists, c.written = maps.Clone(s.lists), maps.Clone(s.written)
	return &c
}

// writable reports whether strings in JSON can be written in Rego: OPA's
// formatter writes control characters in a form that its parser refuses.
func writable(values ...[]byte) bool {
	for _, raw := range values {
		if bytes.Contains(raw, []byte(`\u00`)) {
			return false // canonical JSON escapes those alone, but for \n and the like
		}
		if bytes.ContainsFunc(raw, func(r rune) bool { return r == 0x7f || r > 0xffff && !unicode.IsPrint(r) }) {
			return false
		}
	}
	return true
}

// wildcard says that the shape names all columns of something, which a rule
// would allow whatever they are tomorrow.
func (s *shape) wildcard() string {
	for _, list := range []map[string][]string{s.lists, s.written} {
		for _, names := range list {
			for _, name := range names {
				if name == "*" || strings.HasSuffix(name, ".*") {
					return "it touches columns that are not known by name"
				}
			}
		}
	}
	return ""
}

func (s *shape) pin(value json.RawMessage, path ...string) {
	s.fixed = append(s.fixed, pin{path, value})
}

// flat pins a scalar or a list of strings; what is anything else is not asked
// for.
func (s *shape) flat(value json.RawMessage, path ...string) {
	if slices.Contains(vague, strings.Join(path, ".")) || len(value) == 0 {
		return
	}
	switch value[0] {
	case '{':
		return
	case '[':
		var list []string
		if json.Unmarshal(value, &list) != nil {
			return
		}
		if key := path[len(path)-1]; slices.Contains(merged, key) {
			s.lists[strings.Join(path, ".")] = union(nil, list) // sorted
			return
		}
	}
	s.pin(value, path...)
}

func (s *shape) resource(resource map[string]json.RawMessage) {
	var tables map[string]struct {
		Access  json.RawMessage `json:"access"`
		Written []string        `json:"written"`
	}
	_ = json.Unmarshal(orNull(resource["tables"]), &tables) // a protocol without tables
	routed := len(resource["route"]) > 0 && string(resource["route"]) != "null"
	for _, key := range slices.Sorted(maps.Keys(resource)) {
		switch {
		case key == "names" && (tables != nil && string(resource[key]) == string(resource["table_names"]) || routed):
			continue // said already
		case routed && slices.Contains([]string{"path", "segments"}, key):
			continue // the route says which
		}
		s.flat(resource[key], "resource", key)
	}
	for _, table := range slices.Sorted(maps.Keys(tables)) {
		s.pin(tables[table].Access, "resource", "tables", table, "access")
		s.written[table] = union(nil, tables[table].Written)
	}
	for _, key := range []string{"table_names", "names"} {
		var names []string
		if json.Unmarshal(orNull(resource[key]), &names) == nil && len(names) > 0 {
			s.subject = strings.Join(names, "+")
			return
		}
	}
}

// key is equal for requests of one shape.
func (s *shape) key() string {
	var b strings.Builder
	b.WriteString(s.protocol + "\x00" + s.stage)
	for _, p := range s.fixed {
		b.WriteString("\x00" + strings.Join(p.path, "\x01") + "\x00" + string(p.value))
	}
	return b.String()
}

// grow takes in another request of the same shape.
func (s *shape) grow(o *shape) {
	s.count += o.count
	for path, names := range o.lists {
		s.lists[path] = union(s.lists[path], names)
	}
	for table, names := range o.written {
		s.written[table] = union(s.written[table], names)
	}
}

func union(a, b []string) []string {
	if !slices.ContainsFunc(b, func(name string) bool {
		_, found := slices.BinarySearch(a, name)
		return !found
	}) {
		return a
	}
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}
