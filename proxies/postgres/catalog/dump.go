package catalog

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// DumpFormat is the format key of a catalogue dump.
const DumpFormat = "regate.catalog/v1"

// maxDump bounds a dump that is read, in bytes: a database of 100,000 tables
// takes some 100 MB.
const maxDump = 512 << 20

// Session is what a dump keeps beside the catalogue: how names were looked up
// for the one who made it.
type Session struct {
	User       string   `json:"user"`        // current_user
	SearchPath []string `json:"search_path"` // current_schemas(true)
}

// A dump is one JSON object. Objects refer to each other by OID; lists are
// sorted, and each element has a line of its own, so that two dumps of the same
// schema differ in nothing. What regate itself knows of functions is not in it.
type dump struct {
	Format        string `json:"format"`
	Version       int    `json:"version"`
	ServerVersion string `json:"server_version"`
	Database      string `json:"database"`
	Session
	Schemas   map[string]OID   `json:"schemas"`
	Relations []dumpedRelation `json:"relations"`
	Functions []dumpedFunction `json:"functions"`
	Types     []dumpedType     `json:"types"`
	Operators []dumpedOperator `json:"operators"`
	Casts     []dumpedCast     `json:"casts"`
	Implicit  [][2]OID         `json:"implicit_casts"`
	Events    []OID            `json:"event_triggers"`
}

type dumpedRelation struct {
	OID         OID               `json:"oid"`
	Schema      string            `json:"schema"`
	Name        string            `json:"name"`
	Kind        Kind              `json:"kind"`
	RowType     OID               `json:"row_type,omitempty"`
	Columns     []dumpedColumn    `json:"columns,omitempty"`
	Parents     []OID             `json:"parents,omitempty"`
	Partition   bool              `json:"partition,omitempty"`
	Definition  string            `json:"definition,omitempty"`
	RowSecurity bool              `json:"row_security,omitempty"`
	Rules       []string          `json:"rules,omitempty"`
	Triggers    []dumpedTrigger   `json:"triggers,omitempty"`
	Hidden      []OID             `json:"hidden,omitempty"`
	References  []dumpedReference `json:"references,omitempty"`
	Refers      []OID             `json:"refers,omitempty"`
	Server      string            `json:"server,omitempty"`
}

type dumpedColumn struct {
	Number    int16   `json:"number"`
	Name      string  `json:"name"`
	Type      OID     `json:"type"`
	Generated bool    `json:"generated,omitempty"`
	From      []int16 `json:"from,omitempty"`
	Default   bool    `json:"default,omitempty"`
}

type dumpedTrigger struct {
	Name     string   `json:"name"`
	Events   []string `json:"events"`
	Function OID      `json:"function,omitempty"`
	Enabled  bool     `json:"enabled"`
}

type dumpedReference struct {
	From     OID    `json:"from"`
	OnDelete string `json:"on_delete,omitempty"`
	OnUpdate string `json:"on_update,omitempty"`
}

type dumpedFunction struct {
	OID             OID      `json:"oid"`
	Schema          string   `json:"schema"`
	Name            string   `json:"name"`
	Kind            string   `json:"kind"`
	Language        string   `json:"language"`
	Volatility      string   `json:"volatility"`
	SecurityDefiner bool     `json:"security_definer,omitempty"`
	Extension       string   `json:"extension,omitempty"`
	Args            []OID    `json:"args,omitempty"`
	Defaults        int      `json:"defaults,omitempty"`
	Variadic        bool     `json:"variadic,omitempty"`
	ReturnsSet      bool     `json:"returns_set,omitempty"`
	Result          OID      `json:"result"`
	Out             []string `json:"out,omitempty"`
	OutTypes        []OID    `json:"out_types,omitempty"`
}

type dumpedType struct {
	OID      OID    `json:"oid"`
	Schema   string `json:"schema"`
	Name     string `json:"name"`
	Kind     string `json:"kind"`
	Element  OID    `json:"element,omitempty"`
	Base     OID    `json:"base,omitempty"`
	Relation OID    `json:"relation,omitempty"`
	Checks   []OID  `json:"checks,omitempty"`
	Input    OID    `json:"input,omitempty"`
}

type dumpedOperator struct {
	Schema   string `json:"schema"`
	Name     string `json:"name"`
	Left     OID    `json:"left,omitempty"`
	Right    OID    `json:"right,omitempty"`
	Function OID    `json:"function,omitempty"`
}

type dumpedCast struct {
	Source   OID `json:"source"`
	Target   OID `json:"target"`
	Function OID `json:"function"`
}

// WriteDump writes the catalogue as a file that ReadDump reads, for looking at
// statements where the database cannot be reached. It holds names, types and
// the text of views, and no row of any table.
func (s *Snapshot) WriteDump(w io.Writer, by Session) error {
	out := bufio.NewWriter(w)
	line := func(key string, v any) {
		if raw, err := marshal(v); err == nil {
			fmt.Fprintf(out, "%q:%s,\n", key, raw)
		}
	}
	fmt.Fprint(out, "{")
	line("format", DumpFormat)
	line("version", s.Version)
	line("server_version", s.ServerVersion)
	line("database", s.Database)
	line("user", by.User)
	line("search_path", append([]string{}, by.SearchPath...))
	line("schemas", s.schemas)
	errs := errors.Join(
		lines(out, "relations", s.dumpRelations()),
		lines(out, "functions", s.dumpFunctions()),
		lines(out, "types", s.dumpTypes()),
		lines(out, "operators", s.dumpOperators()),
		lines(out, "casts", s.dumpCasts()),
	)
	implicit := slices.SortedFunc(maps.Keys(s.implicit), func(a, b [2]OID) int { return slices.Compare(a[:], b[:]) })
	line("implicit_casts", append([][2]OID{}, implicit...))
	raw, err := marshal(append([]OID{}, oids(s.events)...))
	fmt.Fprintf(out, "\"event_triggers\":%s}\n", raw)
	return errors.Join(errs, err, out.Flush())
}

// marshal leaves < and > as they are: definitions are full of them.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

func lines[T any](out *bufio.Writer, key string, list []T) error {
	fmt.Fprintf(out, "%q:[", key)
	for i, v := range list {
		raw, err := marshal(v)
		if err != nil {
			return err
		}
		if i > 0 {
			fmt.Fprint(out, ",")
		}
		fmt.Fprintf(out, "\n%s", raw)
	}
	_, err := fmt.Fprint(out, "],\n")
	return err
}

func oids(list []*Function) []OID {
	var out []OID
	for _, f := range list {
		out = append(out, f.oid())
	}
	return out
}

func (f *Function) oid() OID {
	if f == nil {
		return 0
	}
	return f.OID
}

func relationOIDs(list []*Relation) []OID {
	var out []OID
	for _, r := range list {
		out = append(out, r.OID)
	}
	return out
}

func sortedByOID[T any](m map[OID]T) []T {
	out := make([]T, 0, len(m))
	for _, oid := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[oid])
	}
	return out
}

func (s *Snapshot) dumpRelations() []dumpedRelation {
	var out []dumpedRelation
	for _, r := range sortedByOID(s.relations) {
		d := dumpedRelation{
			OID: r.OID, Schema: r.Schema, Name: r.Name, Kind: r.Kind, RowType: r.RowType, Parents: relationOIDs(r.Parents),
			Partition: r.Partition, Definition: r.Definition, RowSecurity: r.RowSecurity, Rules: r.Rules,
			Hidden: oids(r.Hidden), Refers: relationOIDs(r.Refers), Server: r.Server,
		}
		for _, c := range r.Columns {
			d.Columns = append(d.Columns, dumpedColumn(c))
		}
		for _, t := range r.Triggers {
			events := slices.Sorted(slices.Values(t.Events))
			d.Triggers = append(d.Triggers, dumpedTrigger{Name: t.Name, Events: append([]string{}, events...), Function: t.Function.oid(), Enabled: t.Enabled})
		}
		for _, ref := range r.References {
			d.References = append(d.References, dumpedReference{From: ref.From.OID, OnDelete: ref.OnDelete, OnUpdate: ref.OnUpdate})
		}
		out = append(out, d)
	}
	return out
}

func (s *Snapshot) dumpFunctions() []dumpedFunction {
	var out []dumpedFunction
	for _, f := range sortedByOID(s.functions) {
		out = append(out, dumpedFunction{
			OID: f.OID, Schema: f.Schema, Name: f.Name, Kind: f.Kind, Language: f.Language, Volatility: f.Volatility,
			SecurityDefiner: f.SecurityDefiner, Extension: f.Extension, Args: f.Args, Defaults: f.Defaults, Variadic: f.Variadic,
			ReturnsSet: f.ReturnsSet, Result: f.Result, Out: f.Out, OutTypes: f.OutTypes,
		})
	}
	return out
}

func (s *Snapshot) dumpTypes() []dumpedType {
	var out []dumpedType
	for _, t := range sortedByOID(s.types) {
		out = append(out, dumpedType{
			OID: t.OID, Schema: t.Schema, Name: t.Name, Kind: t.Kind, Element: t.Element, Base: t.Base, Relation: t.Relation,
			Checks: oids(t.Checks), Input: t.Input.oid(),
		})
	}
	return out
}

func (s *Snapshot) dumpOperators() []dumpedOperator {
	var out []dumpedOperator
	for _, list := range s.operators {
		for _, o := range list {
			out = append(out, dumpedOperator{Schema: o.Schema, Name: o.Name, Left: o.Left, Right: o.Right, Function: o.Function.oid()})
		}
	}
	slices.SortFunc(out, func(a, b dumpedOperator) int {
		return cmp.Or(cmp.Compare(a.Schema, b.Schema), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Left, b.Left), cmp.Compare(a.Right, b.Right))
	})
	return out
}

func (s *Snapshot) dumpCasts() []dumpedCast {
	var out []dumpedCast
	for target, list := range s.casts {
		for _, c := range list {
			out = append(out, dumpedCast{Source: c.Source, Target: target, Function: c.Function.oid()})
		}
	}
	slices.SortFunc(out, func(a, b dumpedCast) int {
		return cmp.Or(cmp.Compare(a.Target, b.Target), cmp.Compare(a.Source, b.Source))
	})
	return out
}

// ReadDump reads what WriteDump wrote. A dump that is not one, that has a key
// which is not known, or that refers to something that is not in it is an
// error.
func ReadDump(r io.Reader) (*Snapshot, Session, error) {
	fail := func(err error) (*Snapshot, Session, error) {
		return nil, Session{}, fmt.Errorf("read the catalogue dump: %w", err)
	}
	limited := &io.LimitedReader{R: r, N: maxDump}
	in := bufio.NewReader(limited)
	if first, err := firstByte(in); err != nil {
		return fail(err)
	} else if first != '{' {
		return fail(errors.New("it is not JSON. A dump of pg_dump cannot be read: it does not say what the server's own functions and types are. " +
			"Restore it into an empty database and dump the catalogue of that one with --dump-catalog"))
	}
	var d dump
	dec := json.NewDecoder(in)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		if limited.N == 0 {
			err = fmt.Errorf("it is longer than %d bytes", maxDump)
		}
		return fail(err)
	}
	if d.Format != DumpFormat {
		return fail(fmt.Errorf("its format is %q, not %q", d.Format, DumpFormat))
	}
	if dec.More() {
		return fail(errors.New("something follows the JSON object"))
	}
	snap, err := d.snapshot()
	if err != nil {
		return fail(err)
	}
	return snap, d.Session, nil
}

// firstByte returns the first byte that is not space, without taking it.
func firstByte(in *bufio.Reader) (byte, error) {
	for {
		b, err := in.ReadByte()
		if err != nil {
			return 0, err
		}
		switch b {
		case ' ', '\t', '\r', '\n':
			continue
		}
		return b, in.UnreadByte()
	}
}

// undumper puts the objects of a dump together and notes what is missing.
type undumper struct {
	snap    *Snapshot
	missing error
}

func (u *undumper) function(oid OID) *Function {
	if oid == 0 {
		return nil
	}
	f := u.snap.functions[oid]
	if f == nil && u.missing == nil {
		u.missing = fmt.Errorf("function %d is referred to and not there", oid)
	}
	return f
}

func (u *undumper) functions(list []OID) []*Function {
	var out []*Function
	for _, oid := range list {
		if f := u.function(oid); f != nil {
			out = append(out, f)
		}
	}
	return out
}

func (u *undumper) relation(oid OID) *Relation {
	r := u.snap.relations[oid]
	if r == nil && u.missing == nil {
		u.missing = fmt.Errorf("relation %d is referred to and not there", oid)
	}
	return r
}

func (d *dump) snapshot() (*Snapshot, error) {
	snap := newSnapshot(rand.Text(), d.Database)
	snap.Version, snap.ServerVersion = d.Version, d.ServerVersion
	maps.Copy(snap.schemas, d.Schemas)
	u := &undumper{snap: snap}
	for _, f := range d.Functions {
		u.addFunction(f)
	}
	for _, t := range d.Types {
		made := &Type{
			OID: t.OID, Schema: t.Schema, Name: t.Name, Kind: t.Kind, Element: t.Element, Base: t.Base, Relation: t.Relation,
			Checks: u.functions(t.Checks), Input: u.function(t.Input),
		}
		snap.types[t.OID] = made
		snap.typeNames[name{t.Schema, t.Name}] = made
	}
	for _, r := range d.Relations {
		u.addRelation(r)
	}
	for _, r := range d.Relations {
		u.connect(r)
	}
	for _, o := range d.Operators {
		key := name{o.Schema, o.Name}
		snap.operators[key] = append(snap.operators[key], &Operator{
			Schema: o.Schema, Name: o.Name, Left: o.Left, Right: o.Right, Function: u.function(o.Function),
		})
	}
	for _, c := range d.Casts {
		snap.casts[c.Target] = append(snap.casts[c.Target], Cast{Source: c.Source, Function: u.function(c.Function)})
	}
	for _, pair := range d.Implicit {
		snap.implicit[pair] = true
	}
	snap.events = u.functions(d.Events)
	if u.missing != nil {
		return nil, u.missing
	}
	return snap, nil
}

func (u *undumper) addFunction(d dumpedFunction) {
	f := &Function{
		OID: d.OID, Schema: d.Schema, Name: d.Name, Kind: d.Kind, Language: d.Language, Volatility: d.Volatility,
		SecurityDefiner: d.SecurityDefiner, Extension: d.Extension, Args: d.Args, Defaults: d.Defaults, Variadic: d.Variadic,
		ReturnsSet: d.ReturnsSet, Result: d.Result, Out: d.Out, OutTypes: d.OutTypes,
	}
	f.Category = categorize(f)
	u.snap.functions[f.OID] = f
	key := name{f.Schema, f.Name}
	u.snap.funcNames[key] = append(u.snap.funcNames[key], f)
}

func (u *undumper) addRelation(d dumpedRelation) {
	r := &Relation{
		OID: d.OID, Schema: d.Schema, Name: d.Name, Kind: d.Kind, RowType: d.RowType, Partition: d.Partition,
		Definition: d.Definition, RowSecurity: d.RowSecurity, Rules: d.Rules, Hidden: u.functions(d.Hidden), Server: d.Server,
	}
	for _, c := range d.Columns {
		r.Columns = append(r.Columns, Column(c))
	}
	slices.SortFunc(r.Columns, func(a, b Column) int { return int(a.Number) - int(b.Number) })
	for _, t := range d.Triggers {
		r.Triggers = append(r.Triggers, Trigger{Name: t.Name, Events: t.Events, Function: u.function(t.Function), Enabled: t.Enabled})
	}
	u.snap.relations[r.OID] = r
	u.snap.relNames[name{r.Schema, r.Name}] = r
	if r.RowType != 0 {
		u.snap.rowTypes[r.RowType] = r
	}
}

// connect links a relation to others, once all are there.
func (u *undumper) connect(d dumpedRelation) {
	r := u.snap.relations[d.OID]
	for _, oid := range d.Parents {
		if p := u.relation(oid); p != nil {
			r.Parents = append(r.Parents, p)
			p.Children = append(p.Children, r)
		}
	}
	for _, ref := range d.References {
		if from := u.relation(ref.From); from != nil {
			r.References = append(r.References, Reference{From: from, OnDelete: ref.OnDelete, OnUpdate: ref.OnUpdate})
		}
	}
	for _, oid := range d.Refers {
		if to := u.relation(oid); to != nil {
			r.Refers = append(r.Refers, to)
		}
	}
}
