package postgres

import (
	"slices"
	"strings"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/postgres/analyze"
	"github.com/regate-dev/regate/proxies/postgres/catalog"
	"github.com/regate-dev/regate/proxies/postgres/rows"
	"github.com/regate-dev/regate/proxies/postgres/wire"
)

// planKey names a masking plan: the same ruling, statement and description
// always give the same one.
type planKey struct {
	ruling    any
	statement *analyze.Statement
	tainted   bool
	carried   bool
	fields    string
}

// planCache keeps the plans of a session's statements.
type planCache map[planKey]*rows.Plan

const maxPlans = 256

// planTurn decides how the rows of a turn are shown. message is the
// RowDescription that the target gave for exactly these rows.
func (s *session) planTurn(t *turn, message []byte) error {
	if len(message) < wire.HeaderSize {
		return violation("rows that were not described")
	}
	cacheable := !s.srv.readsResponse()
	if cacheable {
		if plan, ok := s.plans[planKey{t.Ruling, t.statement, t.tainted, t.carried, string(message)}]; ok {
			t.plan, t.planned = plan, true
			return nil
		}
	}
	fields, err := rows.ParseRowDescription(nil, message[wire.HeaderSize:])
	if err != nil {
		return violation("RowDescription")
	}
	described := make([]input.Field, len(fields))
	columns := make([]rows.Column, len(fields))
	for i, f := range fields {
		described[i] = fieldOf(t, i, len(fields), f)
		columns[i] = rows.Column{Name: f.Name, TypeOID: f.TypeOID, Binary: f.Format == 1, Text: isText(t.snapshot, f.TypeOID)}
	}
	if err := s.fillRules(t, described, columns); err != nil {
		return err
	}
	t.plan, t.planned = rows.NewPlan(s.srv.keyring, columns), true
	if cacheable {
		if len(s.plans) >= maxPlans || s.plans == nil {
			s.plans = planCache{}
		}
		s.plans[planKey{t.Ruling, t.statement, t.tainted, t.carried, string(message)}] = t.plan
	}
	return nil
}

func (s *session) fillRules(t *turn, described []input.Field, columns []rows.Column) error {
	seconds := t.Limit.Seconds
	rules, err := t.Response(s.ctx, described)
	if err != nil {
		return err
	}
	if t.Limit.Seconds != seconds && t.active.Load() {
		t.stopClock()
		s.startClock(t)
	}
	for i, r := range rules {
		columns[i].Rule = rows.Rule{Whole: r.Whole, Spec: r.Spec, Field: r.Field, Detect: r.Detect, DetectSpec: r.DetectSpec}
	}
	return nil
}

// fieldOf says where the i-th of n result columns comes from. It joins what
// the target says of it with what the analysis found: each may know sources
// that the other does not, and neither alone may clear a column.
func fieldOf(t *turn, i, n int, f rows.FieldDescription) input.Field {
	field := input.Field{Name: f.Name, Derivation: input.Opaque, Type: "unknown"}
	if t.snapshot != nil {
		if name := t.snapshot.TypeName(f.TypeOID); name != "" {
			field.Type = name
		}
	}
	st := t.statement
	origin, originKnown := originOf(t.snapshot, f)
	switch {
	case !t.tainted && st.OutputsKnown && len(st.Outputs) == n:
		output := st.Outputs[i]
		field.Sources, field.Derivation = output.Sources, output.Derivation
		if originKnown {
			field.Sources = union(output.Sources, origin.Sources)
			if len(field.Sources) > len(output.Sources) {
				// The target knows of a column that the analysis does not.
				field.Derivation = weaker(output.Derivation, origin.Derivation)
			}
		}
	case originKnown && !st.Facts.Action.Returning && !isView(t.snapshot, f):
		// What a view shows may be another since the snapshot; a column that is
		// stored stays what it is.
		field.Sources, field.Derivation = origin.Sources, origin.Derivation
	}
	if field.Derivation != input.Opaque {
		return field
	}
	// Something else may be in it: anything that the statement reaches.
	if t.tainted || t.carried || !st.Complete || st.Facts.Action.Opaque {
		field.Sources = nil
		return field
	}
	for _, table := range st.Facts.Touched {
		if strings.HasPrefix(table, "pg_temp.") {
			field.Sources = nil // a temporary table holds what was put there, from wherever
			return field
		}
		field.Sources = append(field.Sources, table+".*")
	}
	if len(field.Sources) == 0 {
		field.Derivation = input.Constant
	}
	return field
}

// weaker returns what may be said of a value when both may be said of it.
func weaker(a, b input.Derivation) input.Derivation {
	rank := func(d input.Derivation) int {
		return slices.Index([]input.Derivation{input.Constant, input.Exact, input.Derived, input.Opaque}, d)
	}
	if rank(a) > rank(b) {
		return a
	}
	return b
}

// originOf reads the origin that a RowDescription names: a column of a
// relation, or a whole row.
func originOf(snapshot *catalog.Snapshot, f rows.FieldDescription) (analyze.Output, bool) {
	if f.TableOID == 0 || snapshot == nil {
		return analyze.Output{}, false
	}
	relation := snapshot.RelationByOID(f.TableOID)
	if relation == nil {
		return analyze.Output{}, false
	}
	return analyze.Origin(snapshot, relation, f.TableAttributeNumber)
}

func isView(snapshot *catalog.Snapshot, f rows.FieldDescription) bool {
	relation := snapshot.RelationByOID(f.TableOID)
	return relation != nil && relation.Kind == catalog.View
}

func isText(snapshot *catalog.Snapshot, oid uint32) bool {
	if snapshot == nil {
		return false
	}
	name := snapshot.TypeName(oid)
	return name == "citext" || strings.HasSuffix(name, ".citext")
}

func union(a, b []string) []string {
	out := append(slices.Clone(a), b...)
	slices.Sort(out)
	return slices.Compact(out)
}
