package catalog

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// firstUserOID is PostgreSQL's FirstNormalObjectId: what initdb made has a
// lower OID (access/transam.h).
const firstUserOID = 16384

// Load reads the catalogue of conn's database, in one read-only transaction
// with one snapshot. The connection must be idle; the role needs no right
// beyond connecting.
func Load(ctx context.Context, conn *pgx.Conn) (*Snapshot, error) {
	l := &loader{ctx: ctx, strings: map[string]string{}, snap: newSnapshot(rand.Text(), conn.Config().Database)}
	l.snap.LoadedAt = time.Now()
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, fmt.Errorf("read the catalogue: begin: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	l.tx = tx
	for _, step := range []struct {
		name string
		load func() error
	}{
		{"settings", l.settings},
		{"schemas", l.schemas},
		{"relations", l.relations},
		{"columns", l.columns},
		{"view definitions", l.views},
		{"inheritance", l.inheritance},
		{"functions", l.functions},
		{"types", l.types},
		{"operators", l.operators},
		{"casts", l.casts},
		{"triggers", l.triggers},
		{"rules", l.rules},
		{"foreign keys", l.references},
		{"hidden functions", l.hidden},
		{"foreign tables", l.foreign},
		{"generated columns", l.generated},
		{"event triggers", l.eventTriggers},
	} {
		if err := step.load(); err != nil {
			return nil, fmt.Errorf("read the catalogue: %s: %w", step.name, err)
		}
	}
	l.snap.Took = time.Since(l.snap.LoadedAt)
	return l.snap, nil
}

func newSnapshot(id, database string) *Snapshot {
	return &Snapshot{
		ID:        id,
		Database:  database,
		schemas:   map[string]OID{},
		relations: map[OID]*Relation{},
		relNames:  map[name]*Relation{},
		rowTypes:  map[OID]*Relation{},
		functions: map[OID]*Function{},
		funcNames: map[name][]*Function{},
		types:     map[OID]*Type{},
		typeNames: map[name]*Type{},
		operators: map[name][]*Operator{},
		casts:     map[OID][]Cast{},
		implicit:  map[[2]OID]bool{},
	}
}

type loader struct {
	ctx     context.Context
	tx      pgx.Tx
	snap    *Snapshot
	strings map[string]string
}

// intern keeps one copy of names that occur often: most columns are called id.
func (l *loader) intern(s string) string {
	if known, ok := l.strings[s]; ok {
		return known
	}
	l.strings[s] = s
	return s
}

// each runs a query and calls row after each row was scanned into dst.
func (l *loader) each(sql string, row func(), dst ...any) error {
	rows, err := l.tx.Query(l.ctx, sql)
	if err != nil {
		return err
	}
	_, err = pgx.ForEachRow(rows, dst, func() error { row(); return nil })
	return err
}

func (l *loader) settings() error {
	// Without other schemas in the path, pg_get_viewdef qualifies every name
	// that is not in pg_catalog.
	if _, err := l.tx.Exec(l.ctx, "SET LOCAL search_path = pg_catalog"); err != nil {
		return err
	}
	// Nothing here should wait for a lock, see views; if it does, not for long.
	if _, err := l.tx.Exec(l.ctx, "SET LOCAL lock_timeout = '2s'"); err != nil {
		return err
	}
	return l.tx.QueryRow(l.ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_version')`).
		Scan(&l.snap.Version, &l.snap.ServerVersion)
}

// inScope leaves out TOAST and all sessions' temporary schemas.
const inScope = `n.nspname !~ '^pg_(toast|temp_|toast_temp_)'`

func (l *loader) schemas() error {
	var oid OID
	var schema string
	return l.each(`SELECT n.oid, n.nspname FROM pg_namespace n WHERE `+inScope, func() {
		l.snap.schemas[schema] = oid
	}, &oid, &schema)
}

var kinds = map[string]Kind{
	"r": Table, "p": PartitionedTable, "v": View, "m": MaterializedView, "f": ForeignTable, "S": Sequence, "c": Composite,
}

func (l *loader) relations() error {
	var oid, rowType OID
	var schema, rel, kind string
	var partition, rls bool
	return l.each(`
		SELECT c.oid, n.nspname, c.relname, c.relkind::text, c.reltype, c.relispartition, c.relrowsecurity
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r','p','v','m','f','S','c') AND `+inScope, func() {
		r := &Relation{
			OID: oid, Schema: l.intern(schema), Name: l.intern(rel), Kind: kinds[kind],
			RowType: rowType, Partition: partition, RowSecurity: rls,
		}
		l.snap.relations[oid] = r
		l.snap.relNames[name{r.Schema, r.Name}] = r
		if rowType != 0 {
			l.snap.rowTypes[rowType] = r
		}
	}, &oid, &schema, &rel, &kind, &rowType, &partition, &rls)
}

func (l *loader) columns() error {
	// One row a relation: half the time and allocations of a row a column.
	var oid OID
	var numbers []int16
	var names []string
	var types []OID
	var generated, defaults []bool
	return l.each(`
		SELECT a.attrelid, array_agg(a.attnum ORDER BY a.attnum), array_agg(a.attname::text ORDER BY a.attnum),
		       array_agg(a.atttypid ORDER BY a.attnum), array_agg(a.attgenerated <> '' ORDER BY a.attnum),
		       array_agg(a.atthasdef ORDER BY a.attnum)
		FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
		WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r','p','v','m','f','S','c')
		GROUP BY a.attrelid`, func() {
		r := l.snap.relations[oid]
		if r == nil {
			return
		}
		r.Columns = make([]Column, len(numbers))
		for i := range numbers {
			r.Columns[i] = Column{
				Number: numbers[i], Name: l.intern(names[i]), Type: types[i],
				Generated: generated[i], Default: defaults[i] && !generated[i],
			}
		}
	}, &oid, &numbers, &names, &types, &generated, &defaults)
}

func (l *loader) views() error {
	var oid OID
	var definition *string
	// pg_get_viewdef locks what the view reads, and would wait for a
	// transaction that changes it: perhaps for the agent's own, which waits for
	// this reading. Such a view's definition is not known for now.
	return l.each(`
		WITH locked AS MATERIALIZED (
			SELECT relation FROM pg_locks WHERE locktype = 'relation' AND mode = 'AccessExclusiveLock' AND pid <> pg_backend_pid()
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
		), blocked AS MATERIALIZED (
			SELECT relation AS oid FROM locked
			UNION SELECT r.ev_class FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
			JOIN locked ON d.refclassid = 'pg_class'::regclass AND d.refobjid = relation
		)
		SELECT c.oid, CASE WHEN NOT EXISTS (SELECT FROM blocked WHERE blocked.oid = c.oid) THEN pg_get_viewdef(c.oid) END
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('v','m') AND `+inScope, func() {
		if r := l.snap.relations[oid]; r != nil && definition != nil {
			r.Definition = *definition
		}
	}, &oid, &definition)
}

func (l *loader) inheritance() error {
	var child, parent OID
	return l.each(`SELECT inhrelid, inhparent FROM pg_inherits ORDER BY inhrelid, inhseqno`, func() {
		c, p := l.snap.relations[child], l.snap.relations[parent]
		if c == nil || p == nil {
			return // of indexes
		}
		c.Parents = append(c.Parents, p)
		p.Children = append(p.Children, c)
	}, &child, &parent)
}

var (
	functionKinds = map[string]string{"f": "function", "p": "procedure", "a": "aggregate", "w": "window"}
	volatilities  = map[string]string{"i": "immutable", "s": "stable", "v": "volatile"}
)

func (l *loader) functions() error {
	var f Function
	var kind, volatility string
	var extension *string
	var variadic, result OID
	var args, all []OID
	var modes, names []string
	return l.each(`
		SELECT p.oid, n.nspname, p.proname, p.prokind::text, l.lanname, p.provolatile::text, p.prosecdef,
		       e.extname::text, p.proargtypes::oid[], p.pronargdefaults, p.provariadic, p.proretset, p.prorettype,
		       p.proallargtypes, p.proargmodes::text[], p.proargnames
		FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
		LEFT JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
		     AND d.refclassid = 'pg_extension'::regclass
		LEFT JOIN pg_extension e ON e.oid = d.refobjid
		WHERE `+inScope+` ORDER BY p.oid`, func() {
		g := f
		g.Schema, g.Name = l.intern(f.Schema), l.intern(f.Name)
		g.Kind, g.Language, g.Volatility = functionKinds[kind], l.intern(f.Language), volatilities[volatility]
		g.Extension = ""
		if extension != nil {
			g.Extension = l.intern(*extension)
		}
		g.Args, g.Variadic, g.Result = args, variadic != 0, result
		g.Out, g.OutTypes = nil, nil
		for i, mode := range modes {
			if mode != "o" && mode != "b" && mode != "t" {
				continue
			}
			column := ""
			if i < len(names) {
				column = names[i]
			}
			g.Out = append(g.Out, column)
			g.OutTypes = append(g.OutTypes, all[i])
		}
		g.Category = categorize(&g)
		fn := &g
		l.snap.functions[fn.OID] = fn
		key := name{fn.Schema, fn.Name}
		l.snap.funcNames[key] = append(l.snap.funcNames[key], fn)
		args, all, modes, names = nil, nil, nil, nil // kept by fn: not to be scanned into again
	}, &f.OID, &f.Schema, &f.Name, &kind, &f.Language, &volatility, &f.SecurityDefiner,
		&extension, &args, &f.Defaults, &variadic, &f.ReturnsSet, &result, &all, &modes, &names)
}

var typeKinds = map[string]string{
	"b": "base", "c": "composite", "d": "domain", "e": "enum", "p": "pseudo", "r": "range", "m": "multirange",
}

func (l *loader) types() error {
	var t Type
	var kind string
	var in OID
	// Row types of tables and arrays of them are left out: they are found
	// through the relation, and are two thirds of all types.
	return l.each(`
		SELECT t.oid, n.nspname, t.typname, t.typtype::text, t.typelem, t.typbasetype, t.typrelid, t.typinput::oid
		FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
		LEFT JOIN pg_class c ON c.oid = t.typrelid
		LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
		LEFT JOIN pg_class ec ON ec.oid = e.typrelid
		WHERE (c.oid IS NULL OR c.relkind = 'c') AND (ec.oid IS NULL OR ec.relkind = 'c') AND `+inScope, func() {
		u := t
		u.Schema, u.Name, u.Kind = l.intern(t.Schema), l.intern(t.Name), typeKinds[kind]
		if in >= firstUserOID {
			u.Input = l.snap.functions[in]
		}
		l.snap.types[u.OID] = &u
		l.snap.typeNames[name{u.Schema, u.Name}] = &u
	}, &t.OID, &t.Schema, &t.Name, &kind, &t.Element, &t.Base, &t.Relation, &in)
}

func (l *loader) operators() error {
	var o Operator
	var code OID
	return l.each(`
		SELECT n.nspname, o.oprname, o.oprleft, o.oprright, o.oprcode::oid
		FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace
		WHERE o.oid >= 16384 AND `+inScope, func() {
		p := o
		p.Function = l.snap.functions[code]
		key := name{l.intern(p.Schema), l.intern(p.Name)}
		p.Schema, p.Name = key.schema, key.name
		l.snap.operators[key] = append(l.snap.operators[key], &p)
	}, &o.Schema, &o.Name, &o.Left, &o.Right, &code)
}

func (l *loader) casts() error {
	var from, target, code OID
	var implicit bool
	return l.each(`SELECT castsource, casttarget, castfunc, castcontext = 'i' FROM pg_cast`, func() {
		if implicit {
			l.snap.implicit[[2]OID{from, target}] = true
		}
		if f := l.snap.functions[code]; f != nil && code >= firstUserOID {
			l.snap.casts[target] = append(l.snap.casts[target], Cast{Source: from, Function: f})
		}
	}, &from, &target, &code, &implicit)
}

func (l *loader) triggers() error {
	var rel, fn OID
	var trigger string
	var bits int16
	var enabled bool
	return l.each(`
		SELECT tgrelid, tgname, tgtype, tgfoid, tgenabled <> 'D' FROM pg_trigger WHERE NOT tgisinternal`, func() {
		r := l.snap.relations[rel]
		if r == nil {
			return
		}
		t := Trigger{Name: trigger, Function: l.snap.functions[fn], Enabled: enabled}
		for bit, event := range map[int16]string{4: "insert", 8: "delete", 16: "update", 32: "truncate"} {
			if bits&bit != 0 {
				t.Events = append(t.Events, event)
			}
		}
		r.Triggers = append(r.Triggers, t)
	}, &rel, &trigger, &bits, &fn, &enabled)
}

func (l *loader) rules() error {
	var rel OID
	var event string
	return l.each(`
		SELECT ev_class, CASE ev_type WHEN '2' THEN 'update' WHEN '3' THEN 'insert' WHEN '4' THEN 'delete' END
		FROM pg_rewrite WHERE ev_type <> '1' AND ev_enabled <> 'D'`, func() {
		if r := l.snap.relations[rel]; r != nil {
			r.Rules = append(r.Rules, event)
		}
	}, &rel, &event)
}

func (l *loader) references() error {
	var from, to OID
	var onDelete, onUpdate string
	return l.each(`
		SELECT conrelid, confrelid, confdeltype::text, confupdtype::text FROM pg_constraint WHERE contype = 'f'`, func() {
		f, t := l.snap.relations[from], l.snap.relations[to]
		if f == nil || t == nil {
			return
		}
		ref := Reference{From: f}
		switch onDelete {
		case "c":
			ref.OnDelete = "delete"
		case "n", "d":
			ref.OnDelete = "update"
		}
		if onUpdate == "c" || onUpdate == "n" || onUpdate == "d" {
			ref.OnUpdate = "update"
		}
		t.References = append(t.References, ref)
		f.Refers = append(f.Refers, t)
	}, &from, &to, &onDelete, &onUpdate)
}

// hidden finds the users' functions that run with a write or a scan although
// no statement names them. PostgreSQL keeps no dependency on what initdb made,
// so these are the users' own.
func (l *loader) hidden() error {
	var rel, typ, fn OID
	err := l.each(`
		WITH code AS (
			SELECT classid, objid, refobjid AS fn FROM pg_depend
			WHERE refclassid = 'pg_proc'::regclass
			UNION
			SELECT d.classid, d.objid, o.oprcode::oid FROM pg_depend d JOIN pg_operator o ON o.oid = d.refobjid
			WHERE d.refclassid = 'pg_operator'::regclass)
		SELECT DISTINCT rel, typ, fn FROM (
			SELECT a.adrelid AS rel, 0::oid AS typ, fn FROM code JOIN pg_attrdef a ON a.oid = objid WHERE classid = 'pg_attrdef'::regclass
			UNION ALL
			SELECT c.conrelid, c.contypid, fn FROM code JOIN pg_constraint c ON c.oid = objid WHERE classid = 'pg_constraint'::regclass
			UNION ALL
			SELECT p.polrelid, 0, fn FROM code JOIN pg_policy p ON p.oid = objid WHERE classid = 'pg_policy'::regclass
			UNION ALL
			SELECT i.indrelid, 0, fn FROM code JOIN pg_index i ON i.indexrelid = objid WHERE classid = 'pg_class'::regclass
		) x`, func() {
		f := l.snap.functions[fn]
		if f == nil {
			return
		}
		if r := l.snap.relations[rel]; r != nil {
			r.Hidden = append(r.Hidden, f)
		}
		if t := l.snap.types[typ]; t != nil {
			t.Checks = append(t.Checks, f)
		}
	}, &rel, &typ, &fn)
	for _, r := range l.snap.relations {
		for _, c := range r.Columns {
			if t := l.snap.types[c.Type]; t != nil && len(t.Checks) > 0 {
				r.Hidden = append(r.Hidden, t.Checks...)
			}
		}
	}
	return err
}

func (l *loader) generated() error {
	var rel OID
	var column, from int16
	return l.each(`
		SELECT objid, objsubid::int2, refobjsubid::int2 FROM pg_depend
		WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass AND objid = refobjid
		AND objsubid > 0 AND refobjsubid > 0
		UNION -- since PostgreSQL 15 the expression has the dependency
		SELECT adrelid, adnum, refobjsubid::int2 FROM pg_depend d JOIN pg_attrdef a ON a.oid = d.objid
		WHERE classid = 'pg_attrdef'::regclass AND refclassid = 'pg_class'::regclass AND refobjid = adrelid
		AND refobjsubid > 0 AND refobjsubid <> adnum`, func() {
		if r := l.snap.relations[rel]; r != nil {
			if c := r.ColumnNumber(column); c != nil && c.Generated {
				c.From = append(c.From, from)
			}
		}
	}, &rel, &column, &from)
}

func (l *loader) eventTriggers() error {
	var fn OID
	return l.each(`SELECT evtfoid FROM pg_event_trigger WHERE evtenabled <> 'D'`, func() {
		if f := l.snap.functions[fn]; f != nil {
			l.snap.events = append(l.snap.events, f)
		}
	}, &fn)
}

func (l *loader) foreign() error {
	var rel OID
	var server string
	return l.each(`SELECT f.ftrelid, s.srvname FROM pg_foreign_table f JOIN pg_foreign_server s ON s.oid = f.ftserver`, func() {
		if r := l.snap.relations[rel]; r != nil {
			r.Server = l.intern(server)
		}
	}, &rel, &server)
}
