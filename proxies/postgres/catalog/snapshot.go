package catalog

import (
	"slices"
	"sync/atomic"
	"time"
)

// OID is PostgreSQL's object identifier. 0 is none.
type OID = uint32

// Kind is what a relation is, in the words of the input document.
type Kind string

// The kinds of relations.
const (
	Table            Kind = "table"
	PartitionedTable Kind = "partitioned_table"
	View             Kind = "view"
	MaterializedView Kind = "materialized_view"
	ForeignTable     Kind = "foreign_table"
	Sequence         Kind = "sequence"
	Composite        Kind = "composite_type" // a row type without rows
)

// Snapshot is what a database held at one moment. It is immutable and safe
// for concurrent use.
type Snapshot struct {
	// ID tells this snapshot from any other of any database.
	ID string
	// Revision counts the snapshots of a Manager, from 1.
	Revision uint64
	// LoadedAt is when reading began.
	LoadedAt time.Time
	// Took is how long reading took.
	Took time.Duration
	// Version is server_version_num, such as 150014.
	Version int
	// ServerVersion is server_version as the server prints it.
	ServerVersion string
	// Database is the database that was read.
	Database string

	schemas   map[string]OID
	relations map[OID]*Relation
	relNames  map[name]*Relation
	rowTypes  map[OID]*Relation // by the row type's OID
	functions map[OID]*Function
	funcNames map[name][]*Function
	types     map[OID]*Type
	typeNames map[name]*Type
	operators map[name][]*Operator // only those outside pg_catalog
	events    []*Function          // what event triggers run
	casts     map[OID][]Cast       // user-defined casts, by target type
	implicit  map[[2]OID]bool      // source and target types of implicit casts
}

type name struct{ schema, name string }

// Relation is a table, view, sequence, foreign table or composite type.
type Relation struct {
	OID     OID
	Schema  string
	Name    string
	Kind    Kind
	Columns []Column // by number, without dropped ones
	RowType OID

	// Parents and Children are the direct ones, by inheritance or partition.
	Parents  []*Relation
	Children []*Relation
	// Partition is true for a partition of a partitioned table.
	Partition bool

	// Definition is the query of a view or materialised view, every name in it
	// qualified.
	Definition string

	RowSecurity bool // row level security is on
	// Rules are the events ("insert", "update", "delete") that a rewrite rule
	// changes into something else.
	Rules []string
	// Triggers are the user's own triggers (not those of foreign keys).
	Triggers []Trigger
	// Hidden are the user's functions that run when a row is written or
	// filtered: in defaults, checks, generated columns, indexes and policies.
	Hidden []*Function
	// References are the foreign keys of other relations that point here.
	References []Reference
	// Refers are the relations that this one's foreign keys point at.
	Refers []*Relation
	// Server is the foreign server of a foreign table.
	Server string

	memo atomic.Pointer[any]
}

// Column is one column of a relation.
type Column struct {
	Number    int16
	Name      string
	Type      OID
	Generated bool // computed by the server from other columns
	// From are the numbers of those columns.
	From    []int16
	Default bool
}

// Trigger is one user trigger.
type Trigger struct {
	Name     string
	Events   []string // of "insert", "update", "delete", "truncate"
	Function *Function
	Enabled  bool
}

// Reference is a foreign key that points at a relation.
type Reference struct {
	From     *Relation
	OnDelete string // "", "delete" (cascade) or "update" (set null, set default)
	OnUpdate string // "" or "update"
}

// Function is a function, procedure, aggregate or window function.
type Function struct {
	OID             OID
	Schema          string
	Name            string
	Kind            string // "function", "procedure", "aggregate", "window"
	Language        string
	Volatility      string // "immutable", "stable", "volatile"
	SecurityDefiner bool
	Extension       string // the extension that it belongs to, "" for none
	Args            []OID  // types of the input arguments
	Defaults        int    // how many of Args have a default
	Variadic        bool
	ReturnsSet      bool
	Result          OID
	// Out are the names and types of the result's columns where the function
	// says them (OUT, INOUT, RETURNS TABLE).
	Out      []string
	OutTypes []OID
	// Category says what is known of what it does.
	Category Category
}

// QualifiedName is "schema.name", never quoted.
func (f *Function) QualifiedName() string { return f.Schema + "." + f.Name }

// Accepts says whether a call with n positional arguments can mean f.
func (f *Function) Accepts(n int) bool {
	if f.Variadic && n >= len(f.Args)-1-f.Defaults {
		return true
	}
	return n <= len(f.Args) && n >= len(f.Args)-f.Defaults
}

// Type is a data type.
type Type struct {
	OID      OID
	Schema   string
	Name     string
	Kind     string // "base", "composite", "domain", "enum", "pseudo", "range", "multirange"
	Element  OID    // of an array
	Base     OID    // of a domain
	Relation OID    // of a composite
	// Checks are the user's functions that a domain's constraints run.
	Checks []*Function
	// Input is the input function where a user wrote it.
	Input *Function
}

// Operator is a user-defined operator.
type Operator struct {
	Schema      string
	Name        string
	Left, Right OID
	Function    *Function
}

// Cast is a user-defined cast.
type Cast struct {
	Source   OID
	Function *Function
}

// QualifiedName is "schema.name", never quoted.
func (r *Relation) QualifiedName() string { return r.Schema + "." + r.Name }

// Column returns the column of that name, nil when there is none.
func (r *Relation) Column(name string) *Column {
	for i := range r.Columns {
		if r.Columns[i].Name == name {
			return &r.Columns[i]
		}
	}
	return nil
}

// ColumnNumber returns the column of that number, nil when there is none.
func (r *Relation) ColumnNumber(n int16) *Column {
	i, ok := slices.BinarySearchFunc(r.Columns, n, func(c Column, n int16) int { return int(c.Number) - int(n) })
	if !ok {
		return nil
	}
	return &r.Columns[i]
}

// Ancestors are all relations above r by inheritance or partition.
func (r *Relation) Ancestors() []*Relation {
	return closure(r, func(r *Relation) []*Relation { return r.Parents })
}

// Descendants are all relations below r by inheritance or partition.
func (r *Relation) Descendants() []*Relation {
	return closure(r, func(r *Relation) []*Relation { return r.Children })
}

func closure(r *Relation, next func(*Relation) []*Relation) []*Relation {
	if len(next(r)) == 0 {
		return nil
	}
	var all []*Relation
	seen := map[*Relation]bool{r: true}
	queue := next(r)
	for len(queue) > 0 {
		head := queue[0]
		queue = queue[1:]
		if seen[head] {
			continue
		}
		seen[head] = true
		all = append(all, head)
		queue = append(queue[:len(queue):len(queue)], next(head)...)
	}
	return all
}

// Memo returns what build made of r, once it is known. It belongs to package
// analyze, which keeps a view's lineage there. Build may run more than once
// and must be a pure function of the snapshot.
func (r *Relation) Memo(build func() any) any {
	if known := r.memo.Load(); known != nil {
		return *known
	}
	made := build()
	r.memo.Store(&made)
	return made
}

// HasSchema says whether the schema exists.
func (s *Snapshot) HasSchema(schema string) bool { _, ok := s.schemas[schema]; return ok }

// Schemas are all schemas' names, sorted.
func (s *Snapshot) Schemas() []string {
	names := make([]string, 0, len(s.schemas))
	for n := range s.schemas {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Relation returns the relation of that name, nil when there is none.
func (s *Snapshot) Relation(schema, relation string) *Relation {
	return s.relNames[name{schema, relation}]
}

// RelationByOID returns the relation of that OID, nil when there is none.
func (s *Snapshot) RelationByOID(oid OID) *Relation { return s.relations[oid] }

// RelationByRowType returns the relation whose rows have that type, nil when
// the type is not a row type.
func (s *Snapshot) RelationByRowType(typ OID) *Relation { return s.rowTypes[typ] }

// Relations calls visit for every relation, in no order.
func (s *Snapshot) Relations(visit func(*Relation)) {
	for _, r := range s.relations {
		visit(r)
	}
}

// RelationCount is the number of relations.
func (s *Snapshot) RelationCount() int { return len(s.relations) }

// Lookup finds a relation by search path, nil when there is none.
func (s *Snapshot) Lookup(path []string, relation string) *Relation {
	for _, schema := range path {
		if r := s.relNames[name{schema, relation}]; r != nil && r.Kind != Composite {
			return r
		}
	}
	return nil
}

// Functions returns the overloads of that name.
func (s *Snapshot) Functions(schema, function string) []*Function {
	return s.funcNames[name{schema, function}]
}

// FunctionByOID returns the function of that OID, nil when there is none.
func (s *Snapshot) FunctionByOID(oid OID) *Function { return s.functions[oid] }

// Type returns the type of that name, nil when there is none.
func (s *Snapshot) Type(schema, typ string) *Type { return s.typeNames[name{schema, typ}] }

// TypeByOID returns the type of that OID, nil when there is none.
func (s *Snapshot) TypeByOID(oid OID) *Type { return s.types[oid] }

// TypeName is the type's own name as an input document shows it: built-in
// types plain, others "schema.name"; "unknown" where it is not known.
func (s *Snapshot) TypeName(oid OID) string {
	t := s.types[oid]
	switch {
	case t == nil:
		return "unknown"
	case t.Schema == "pg_catalog":
		return t.Name
	}
	return t.Schema + "." + t.Name
}

// Operators returns the user-defined operators of that name.
func (s *Snapshot) Operators(schema, operator string) []*Operator {
	return s.operators[name{schema, operator}]
}

// EventTriggers are the functions that run with statements of DDL.
func (s *Snapshot) EventTriggers() []*Function { return s.events }

// Casts returns the user-defined casts to a type.
func (s *Snapshot) Casts(target OID) []Cast { return s.casts[target] }

// unknownType is the type of a string literal before it is given one.
const unknownType OID = 705

// Coercible says whether the server may take a value of one type where
// another is asked for, without a cast being written. It is false only where
// that is certain; a type of 0 is not known.
func (s *Snapshot) Coercible(from, to OID) bool {
	if from == 0 || to == 0 || from == to || from == unknownType || s.implicit[[2]OID{from, to}] {
		return true
	}
	f, t := s.types[from], s.types[to]
	if f == nil || t == nil {
		return true
	}
	if f.Kind == "domain" {
		return s.Coercible(f.Base, to)
	}
	if f.Kind == "composite" || f.Kind == "pseudo" || f.Element != 0 && t.Element != 0 {
		return true
	}
	return t.Kind == "pseudo" || t.Kind == "composite" || t.Kind == "domain"
}
