package analyze

import (
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v5"

	"github.com/regate-dev/regate/engine/input"
)

func (b *builder) prepare(s *pg_query.PrepareStmt, text string) {
	inner := b.inner(s.Query, after(text, "as"))
	for _, t := range s.Argtypes {
		b.typeName(t.GetTypeName(), constant)
	}
	b.absorb(inner)
	b.command = "prepare"
	b.statement.Prepared = s.Name
	b.effects = Effects{Prepare: &Prepare{Name: s.Name, Inner: inner}}
	b.gives(nil, true, false)
}

func (b *builder) execute(s *pg_query.ExecuteStmt) {
	b.cacheable = false
	inner := b.prepared(s.Name)
	b.command = "execute"
	b.statement.Prepared = s.Name
	for _, n := range s.Params {
		b.expr(n, &scope{}, false)
	}
	if inner == nil {
		b.verb("execute")
		b.action.Writes = true
		b.hides("prepared", s.Name, whyNotPrepared)
		b.gives(nil, false, true)
		b.effects.Execute = &Execute{Name: s.Name}
		return
	}
	b.unsafe = true // it is planned again when names mean something else
	b.absorb(inner)
	b.takeOutputs(inner)
	if b.state.shadows > b.state.preparedAt[s.Name] {
		b.dontKnow("session", "", whyEarlier)
		b.outputKnown = false
	}
	b.effects = inner.Effects
	b.effects.Execute = &Execute{Name: s.Name, Inner: inner}
}

func (b *builder) declare(s *pg_query.DeclareCursorStmt, text string) {
	inner := b.inner(s.Query, after(text, "for"))
	b.absorb(inner)
	b.command = "declare cursor"
	b.statement.Cursor = s.Portalname
	const hold = 0x0020 // CURSOR_OPT_HOLD (nodes/parsenodes.h)
	b.effects = inner.Effects
	b.effects.Declare = &Declare{Name: s.Portalname, Inner: inner, Hold: s.Options&hold != 0}
	b.gives(nil, true, false)
}

func (b *builder) fetch(s *pg_query.FetchStmt) {
	b.cacheable = false
	b.command = "fetch"
	if s.Ismove {
		b.command = "move"
	}
	b.statement.Cursor = s.Portalname
	inner := b.cursor(s.Portalname)
	b.effects.Fetch = &Fetch{Name: s.Portalname, Inner: inner, Move: s.Ismove}
	if inner == nil {
		b.verb(b.command)
		b.action.Writes = true
		b.hides("cursor", s.Portalname, whyNoCursor)
		b.gives(nil, s.Ismove, !s.Ismove)
		return
	}
	b.absorb(inner)
	if s.Ismove {
		b.gives(nil, true, false)
		return
	}
	b.takeOutputs(inner)
}

func (b *builder) takeOutputs(inner *Statement) {
	b.outputs, b.outputKnown, b.returnsRows = inner.Outputs, inner.OutputsKnown, inner.ReturnsRows
}

// inner analyses a statement inside this one as a Statement of its own.
func (b *builder) inner(n *pg_query.Node, text string) *Statement {
	inner := newBuilder(b.snap, b.set, b.state, b.steps)
	inner.top(n, text)
	inner.leftOver(n)
	b.cacheable = b.cacheable && inner.cacheable
	b.skip(n)
	b.unsafe = b.unsafe || inner.unsafe
	return inner.finish(text, input.SQLBatch{Size: 1})
}

// after is the text behind the first such word outside brackets.
func after(text, word string) string {
	s := scanner{text: text}
	nested := 0
	for {
		switch t := s.next(); {
		case t.kind == tokenEnd:
			return text
		case t.kind == tokenOpen:
			nested++
		case t.kind == tokenClose:
			nested--
		case t.kind == tokenWord && t.word == word && nested == 0:
			return strings.TrimSpace(text[t.end:])
		}
	}
}

func (b *builder) prepared(name string) *Statement {
	if s, ok := b.state.prepared[name]; ok {
		return s
	}
	if b.set.Prepared == nil || b.state.forgotPrepared {
		return nil
	}
	return b.set.Prepared(name)
}

func (b *builder) cursor(name string) *Statement {
	b.cacheable = false
	if s, ok := b.state.cursors[name]; ok {
		return s
	}
	if b.set.Cursor == nil || b.state.forgotCursors {
		return nil
	}
	return b.set.Cursor(name)
}
