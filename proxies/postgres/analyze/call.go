package analyze

import (
	"fmt"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/postgres/catalog"
)

// FunctionCall analyses the protocol's FunctionCall message, which runs any
// function by its OID. The text is what a person can read of it; there is no
// SQL.
func (a *Analyzer) FunctionCall(oid catalog.OID, args int, snap *catalog.Snapshot, set Settings) *Statement {
	set.Mode, set.AST = FunctionCall, false
	b := newBuilder(snap, &set, &batchState{}, budget(0))
	b.command = "function call"
	b.verb("select")
	name := fmt.Sprintf("oid %d", oid)
	v := opaque
	if snap == nil {
		b.hides("function", name, whyNoCatalogue)
	} else if f := snap.FunctionByOID(oid); f == nil {
		b.hides("function", name, whyNotFound)
	} else {
		name = f.QualifiedName()
		if b.runs(f) && f.Category == catalog.Safe {
			v = computed
		}
		if f.Name == "set_config" {
			b.setConfig(nil)
		}
	}
	b.gives([]column{{name: name, value: v}}, true, true)
	s := b.finish(fmt.Sprintf("function call %s (%d arguments)", name, args), input.SQLBatch{Size: 1})
	return s
}
