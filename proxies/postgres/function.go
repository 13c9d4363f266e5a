package postgres

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/postgres/analyze"
	"github.com/regate-dev/regate/proxies/postgres/catalog"
	"github.com/regate-dev/regate/proxies/postgres/wire"
)

// functionStatement is the statement that a FunctionCall message amounts to.
// It is opaque whatever the function: arguments may name what it reads.
func functionStatement(snapshot *catalog.Snapshot, oid uint32, path []string) *analyze.Statement {
	name := fmt.Sprintf("oid:%d", oid)
	var schemas []string
	unknown := []input.Unknown{}
	if f := snapshot.FunctionByOID(oid); f != nil {
		name = f.QualifiedName()
		schemas = append(schemas, f.Schema)
	} else {
		unknown = append(unknown, input.Unknown{What: "function:" + name, Why: "not in catalogue"})
	}
	st := &analyze.Statement{Text: "function call " + name, Command: "function call", Complete: len(unknown) == 0, ReturnsRows: true}
	st.Facts.Action = input.SQLAction{Verb: "call", Verbs: []string{"call"}, Writes: true, Opaque: true}
	st.Facts.Resource = emptyResource("function")
	st.Facts.Resource.Names = []string{name}
	st.Facts.Resource.FunctionNames = []string{name}
	st.Facts.Resource.SchemaNames = append(st.Facts.Resource.SchemaNames, schemas...)
	st.Facts.Statement = emptyStatement()
	st.Facts.Unknown = unknown
	st.Effects.Call, st.Effects.SettingsChange = true, true
	st.Action = input.NewPart(st.Facts.Action)
	st.Resource = input.NewPart(st.Facts.Resource)
	st.Unknown = input.NewPart(unknown)
	st.Detail = input.NewPart(input.SQL{
		Text: st.Text, Command: st.Command, Batch: input.SQLBatch{Size: 1}, Mode: string(analyze.FunctionCall),
		SearchPath: nonNil(slices.Clone(path)), Statement: st.Facts.Statement,
	})
	return st
}

// functionArguments reads the arguments of a FunctionCall message.
func (s *session) functionArguments(m []byte) (*input.Part, error) {
	b := wire.NewBody(m)
	oid := b.Uint32()
	var types []uint32
	if f := s.snapshot.FunctionByOID(oid); f != nil {
		types = f.Args
	}
	values := []input.Parameter{}
	err := eachArgument(&b, "FunctionCall", func(i int, isBinary, null bool, raw []byte) error {
		var typ uint32
		if i < len(types) {
			typ = types[i]
		}
		values = append(values, parameter(s.snapshot, i+1, typ, isBinary, null, raw))
		return nil
	})
	if err != nil {
		return nil, err
	}
	b.Int16()
	if b.Done() != nil {
		return nil, malformed("FunctionCall")
	}
	return input.NewParameters(values), nil
}

// functionResult relays the result of a function. Where any mask is in force
// nothing of it is shown: what a function returns has no known origin.
func (s *session) functionResult(m []byte, o *owed) error {
	t := o.turn
	if o.kind != 'F' || t == nil {
		return violation("FunctionCallResponse")
	}
	rules, err := t.Response(s.ctx, []input.Field{{Name: "result", Type: "unknown", Sources: []string{}, Derivation: input.Opaque}})
	if err != nil {
		return err
	}
	if len(rules) > 0 {
		s.out = append(s.out, 'V', 0, 0, 0, 8)
		s.out = binary.BigEndian.AppendUint32(s.out, 0xffffffff) // NULL
	} else {
		s.out = append(s.out, m...)
	}
	s.recordTurn(t)
	s.finish(t, engine.Outcome{Rows: 1, Tag: "FUNCTION"}, true)
	return nil
}
