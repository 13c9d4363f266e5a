package rewrite

import (
	"bytes"
	"encoding/base64"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/mask"
)

// walk goes through one JSON value, which is known to be well formed, and
// copies it but for what is masked. It allocates nothing where nothing is.
type walk struct {
	m    *Masker
	src  []byte
	from int    // src up to here is in dst
	dst  []byte // what is written

	plain, coded, masked []byte // for texts: unquoted, decoded, masked
	found                []mask.Finding
}

// begin takes a value to go through.
func (w *walk) begin(raw jsontext.Value) { w.src, w.from, w.dst = raw, 0, w.dst[:0] }

// end is the value as it was left. It is good until the next begin.
func (w *walk) end() []byte {
	w.dst = append(w.dst, w.src[w.from:]...)
	w.from = len(w.src)
	return w.dst
}

// start is where the value begins.
func (w *walk) start() int { return skipSpace(w.src, 0) }

// replace writes with in the place of src[start:end].
func (w *walk) replace(start, end int, with string) {
	w.dst = append(append(w.dst, w.src[w.from:start]...), with...)
	w.from = end
}

// members calls value for each member of the object at i, or for none where
// another value is there. value returns the end of what it was called for.
func (w *walk) members(i int, value func(key []byte, i int) int) int {
	if w.src[i] != '{' {
		return valueEnd(w.src, i)
	}
	for i = skipSpace(w.src, i+1); w.src[i] != '}'; {
		end := stringEnd(w.src, i)
		key := w.src[i+1 : end-1]
		if bytes.IndexByte(key, '\\') >= 0 {
			key, _ = jsontext.AppendUnquote(nil, w.src[i:end]) // well formed: it cannot fail
		}
		i = skipSpace(w.src, end)
		i = skipSpace(w.src, value(key, skipSpace(w.src, i+1)))
		if w.src[i] == ',' {
			i = skipSpace(w.src, i+1)
		}
	}
	return i + 1
}

// elements is members for the list at i.
func (w *walk) elements(i int, value func(i int) int) int {
	for i = skipSpace(w.src, i+1); w.src[i] != ']'; {
		i = skipSpace(w.src, value(i))
		if w.src[i] == ',' {
			i = skipSpace(w.src, i+1)
		}
	}
	return i + 1
}

// object goes through an API object: one, or a list or a table of them. top is
// false for those in a list.
func (w *walk) object(i int, top bool) int {
	m, listed := w.m, false
	if w.src[i] != '{' {
		return w.value(i, m.root.top())
	}
	end := w.members(i, func(key []byte, i int) int {
		if top && w.src[i] == '[' {
			switch string(key) {
			case "items":
				listed = true
				return w.elements(i, func(i int) int { return w.object(i, false) })
			case "rows":
				listed = true
				return w.elements(i, w.row)
			case "columnDefinitions":
				end := valueEnd(w.src, i)
				m.columns = nameColumns(w.src[i:end])
				return end
			}
		}
		return w.value(i, m.root.top().below(m.typ, key))
	})
	if !listed {
		m.Objects++
	}
	return end
}

// row goes through a row of a table: its cells, and the object that it is for.
func (w *walk) row(i int) int {
	m, inside := w.m, place{spot: spotElse}
	return w.members(i, func(key []byte, i int) int {
		switch {
		case string(key) == "object" && w.src[i] == '{':
			return w.object(i, false)
		case string(key) == "cells" && w.src[i] == '[':
			n := -1
			return w.elements(i, func(i int) int {
				n++
				if m.cells && (n >= len(m.columns) || !m.columns[n]) && w.src[i] != 'n' {
					m.Changed = true
					end := valueEnd(w.src, i)
					w.replace(i, end, `"`+Withheld+`"`)
					return end
				}
				return w.value(i, inside)
			})
		}
		return w.value(i, inside)
	})
}

// value goes through a value at a place.
func (w *walk) value(i int, p place) int {
	m, rule := w.m, &w.m.rest
	switch {
	case p.rule != nil:
		if rule = p.rule; rule.Spec != nil && rule.Spec.Method == mask.Null && p.spot != spotIdentity {
			m.Changed = true
			end := valueEnd(w.src, i)
			w.replace(i, end, "null")
			return end
		}
	case p.node == nil && p.spot.plain() && m.rest.Passes():
		return valueEnd(w.src, i)
	}
	switch w.src[i] {
	case '{':
		return w.members(i, func(key []byte, i int) int { return w.value(i, p.below(m.typ, key)) })
	case '[':
		return w.elements(i, func(i int) int { return w.value(i, p) })
	case '"':
		return w.text(i, p, rule)
	}
	end := valueEnd(w.src, i)
	masked := rule.Whole || rule.Spec != nil
	if w.src[i] != 't' && w.src[i] != 'f' && rule.Detect != nil && !masked {
		w.found = rule.Detect.Scan(w.src[i:end], w.found[:0])
		masked = len(w.found) > 0
	}
	if masked && w.src[i] != 'n' && p.spot != spotIdentity {
		// A number or a truth value has no masked form that a typed client could
		// read.
		m.Changed = true
		w.replace(i, end, "null")
	}
	return end
}

// text masks a string.
func (w *walk) text(i int, p place, rule *engine.FieldRule) int {
	m, end := w.m, stringEnd(w.src, i)
	applied := p.spot == spotApplied && p.rule == nil && !m.Idle()
	if p.spot == spotIdentity || rule.Passes() && !applied {
		return end
	}
	text := w.src[i+1 : end-1]
	if bytes.IndexByte(text, '\\') >= 0 {
		w.plain, _ = jsontext.AppendUnquote(w.plain[:0], w.src[i:end]) // well formed: it cannot fail
		text = w.plain
	}
	if applied {
		if out, changed := m.applied(text); changed {
			w.quote(i, end, out)
		}
		return end
	}
	coded := false
	if p.spot == spotCoded {
		if raw, err := base64.StdEncoding.AppendDecode(w.coded[:0], text); err == nil {
			w.coded, text = raw, raw
		}
		coded = true
	}
	out, changed := w.apply(text, rule)
	if !changed {
		return end
	}
	if coded {
		w.coded = base64.StdEncoding.AppendEncode(w.coded[:0], out)
		out = w.coded
	}
	w.quote(i, end, out)
	return end
}

// quote writes text as a string in the place of src[i:end].
func (w *walk) quote(i, end int, text []byte) {
	w.replace(i, end, "")
	w.dst, _ = jsontext.AppendQuote(w.dst, text) // an error is invalid UTF-8, which was replaced
}

// apply masks one text. The result is good until the next call.
func (w *walk) apply(text []byte, rule *engine.FieldRule) (out []byte, changed bool) {
	m := w.m
	switch {
	case rule.Whole:
		out, changed = append(w.masked[:0], Withheld...), true
	case rule.Spec != nil:
		var null bool
		if out, null = m.keyring.Field(w.masked[:0], text, *rule.Spec, rule.Field); null {
			out = out[:0]
		}
		if rule.Detect != nil {
			out, _ = m.keyring.Text(nil, out, rule.Detect, rule.DetectSpec)
		}
		changed = true
	case rule.Detect != nil:
		if w.found = rule.Detect.Scan(text, w.found[:0]); len(w.found) == 0 {
			return text, false
		}
		out, changed = m.keyring.Text(w.masked[:0], text, rule.Detect, rule.DetectSpec)
	default:
		return text, false
	}
	w.masked = out
	m.Changed = m.Changed || changed
	return out, changed
}

// applied masks the object in the annotation of kubectl apply.
func (m *Masker) applied(text []byte) (out []byte, changed bool) {
	if !jsontext.Value(text).IsValid() {
		m.Changed = true
		return []byte(Withheld), true
	}
	objects, before := m.Objects, m.Changed
	m.Changed = false
	inner := walk{m: m}
	inner.begin(text)
	inner.object(inner.start(), false)
	out, changed = inner.end(), m.Changed
	m.Objects, m.Changed = objects, before || changed
	return out, changed
}
