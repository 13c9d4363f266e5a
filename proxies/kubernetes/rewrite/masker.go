package rewrite

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/mask"
)

// Masker rewrites the answers to one request. It is for one goroutine.
type Masker struct {
	keyring *mask.Keyring
	typ     string
	root    *node
	cells   bool   // cells of tables may show what is masked
	columns []bool // of the last table: true where a cell is the object's name; a watch says it once
	rest    engine.FieldRule
	walk    walk

	// Objects counts the objects that were written.
	Objects int64
	// Changed: something was masked.
	Changed bool
}

// lastApplied is the annotation in which kubectl apply keeps the whole object.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// Withheld stands for a text that may hold a masked value somewhere.
const Withheld = "[REDACTED]"

// New returns a masker for answers about a type, such as "secrets" or
// "deployments.apps/scale". tree must not be nil.
func New(keyring *mask.Keyring, tree *engine.Tree, typ string) *Masker {
	m := &Masker{keyring: keyring, typ: typ, root: compile(tree.Fields(), typ), rest: tree.Rule()}
	m.root.bind(tree, nil)
	m.cells = m.root.shownInTables(typ)
	m.walk.m = m
	return m
}

// Reaches reports whether a mask names something in objects of this type.
func (m *Masker) Reaches() bool { return !m.root.empty() }

// Idle reports whether nothing would change.
func (m *Masker) Idle() bool { return m.root.empty() && m.rest.Passes() }

// Document rewrites one JSON document. failed says that the API server answered
// with an error: a Status, whose message may quote values.
func (m *Masker) Document(w io.Writer, r io.Reader, failed bool) error {
	// A name that comes twice is masked twice, so it need not be looked for.
	d := document{m: m, w: w, dec: jsontext.NewDecoder(r, jsontext.AllowDuplicateNames(true))}
	var err error
	switch {
	case failed:
		err = d.value(func(w *walk) { w.status(w.start()) })
	case d.dec.PeekKind() == '{':
		err = d.object()
	default:
		err = d.value(func(w *walk) { w.value(w.start(), m.root.top()) })
	}
	if err != nil {
		return fmt.Errorf("mask answer: %w", err)
	}
	if _, err := d.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("mask answer: something follows its JSON")
	}
	return nil
}

// Event rewrites one event of a watch: {"type": …, "object": …}. It returns
// io.EOF where the stream ended between two events.
func (m *Masker) Event(w io.Writer, dec *jsontext.Decoder) error {
	raw, err := dec.ReadValue()
	if err != nil {
		return err // io.EOF is the end
	}
	kind, err := eventType(raw)
	if err != nil {
		return fmt.Errorf("mask event: %w", err)
	}
	at := &m.walk
	at.begin(raw)
	// A bookmark is nothing but a resource version and, perhaps, that the first
	// list ended.
	if kind != "BOOKMARK" {
		at.members(at.start(), func(key []byte, i int) int {
			switch {
			case string(key) != "object":
				return valueEnd(at.src, i)
			case kind == "ERROR":
				return at.status(i)
			default:
				return at.object(i, true)
			}
		})
	}
	_, err = w.Write(append(at.end(), '\n'))
	return err
}

// Text returns a stream that masks an answer that is plain text, such as a log.
// It is false where a mask names the answer as a whole.
func (m *Masker) Text() (*mask.Stream, bool) {
	if len(m.root.fields) > 0 {
		return nil, false
	}
	detect := m.rest.Detect
	if detect == nil {
		var err error
		if detect, err = mask.NewDetector(nil); err != nil {
			return nil, false
		}
	}
	return m.keyring.NewStream(detect, m.rest.DetectSpec), true
}

// eventType reads the type of an event.
func eventType(raw jsontext.Value) (string, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.ReadToken(); err != nil || t.Kind() != '{' {
		return "", errors.New("an event is no object")
	}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return "", err
		}
		if name.String() == "type" {
			v, err := dec.ReadToken()
			if err != nil || v.Kind() != '"' {
				return "", errors.New("an event's type is no text")
			}
			return v.String(), nil
		}
		if err := dec.SkipValue(); err != nil {
			return "", err
		}
	}
	return "", errors.New("an event has no type")
}

// nameColumns says for each column of a table whether it holds names.
func nameColumns(raw jsontext.Value) []bool {
	var out []bool
	dec := jsontext.NewDecoder(bytes.NewReader(raw))
	if _, err := dec.ReadToken(); err != nil {
		return nil
	}
	for dec.PeekKind() == '{' {
		v, err := dec.ReadValue()
		if err != nil {
			return nil
		}
		out = append(out, bytes.Contains(v, []byte(`"format":"name"`)))
	}
	return out
}
