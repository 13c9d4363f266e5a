package analyze

import (
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/postgres/catalog"
)

// Origin says what reaches a value that the server itself says comes from
// attribute number of rel, as a RowDescription does: the column with all that
// is below it; number 0 is a whole row, and a negative number a system column,
// which holds no column's value. It is false for a number that rel does not
// have.
func Origin(snap *catalog.Snapshot, rel *catalog.Relation, number int16) (Output, bool) {
	columns := newBuilder(snap, &Settings{}, &batchState{}, budget(0)).facts(rel).inherited
	if number < 0 {
		return Output{Derivation: input.Derived}, true
	}
	v := derived(rowOf(columns))
	if number > 0 {
		v = value{}
		for i := range rel.Columns {
			if rel.Columns[i].Number == number && i < len(columns) {
				v = columns[i].value
			}
		}
		if v.how == "" {
			return Output{}, false
		}
	}
	return Output{Sources: v.from.names(), Derivation: v.how}, true
}
