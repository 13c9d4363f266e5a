package rewrite

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/mask"
)

// Masker rewrites the answers to one request.
type Masker struct {
	keyring *mask.Keyring
	tree    *engine.Tree
	typ     string
	root    *node
	cells   bool   // cells of tables may show what is masked
	columns []bool // of the last table: true where a cell is the object's name; a watch says it once
	rest    engine.FieldRule

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
	m := &Masker{keyring: keyring, tree: tree, typ: typ, root: compile(tree.Fields(), typ), rest: tree.Rule()}
	m.cells = m.root.shownInTables(typ)
	return m
}

// Reaches reports whether a mask names something in objects of this type.
func (m *Masker) Reaches() bool { return !m.root.empty() }

// Idle reports whether nothing would change.
func (m *Masker) Idle() bool { return m.root.empty() && m.rest.Passes() }

// Document rewrites one JSON document. failed says that the API server answered
// with an error: a Status, whose message may quote values.
func (m *Masker) Document(w io.Writer, r io.Reader, failed bool) error {
	dec, enc := jsontext.NewDecoder(r, jsontext.AllowDuplicateNames(false)), jsontext.NewEncoder(w)
	var err error
	if failed {
		err = m.status(dec, enc)
	} else {
		err = m.object(dec, enc, true)
	}
	if err != nil {
		return fmt.Errorf("mask answer: %w", err)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
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
	event := jsontext.NewDecoder(bytes.NewReader(raw))
	kind, err := eventType(raw)
	if err != nil {
		return fmt.Errorf("mask event: %w", err)
	}
	if kind == "BOOKMARK" {
		// Nothing but a resource version and, perhaps, that the first list ended.
		_, err := w.Write(append(slices.Clone(raw), '\n'))
		return err
	}
	enc := jsontext.NewEncoder(w)
	return m.members(event, enc, func(key string) error {
		switch {
		case key != "object":
			v, err := event.ReadValue()
			if err != nil {
				return err
			}
			return enc.WriteValue(v)
		case kind == "ERROR":
			return m.status(event, enc)
		default:
			return m.object(event, enc, true)
		}
	})
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

// members copies an object, key by key.
func (m *Masker) members(dec *jsontext.Decoder, enc *jsontext.Encoder, value func(key string) error) error {
	open, err := dec.ReadToken()
	if err != nil {
		return err
	}
	if open.Kind() != '{' {
		return errors.New("not an object")
	}
	if err := enc.WriteToken(open); err != nil {
		return err
	}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return err
		}
		key := name.String()
		if err := enc.WriteToken(jsontext.String(key)); err != nil {
			return err
		}
		if err := value(key); err != nil {
			return err
		}
	}
	end, err := dec.ReadToken()
	if err != nil {
		return err
	}
	return enc.WriteToken(end)
}

// elements copies a list, or null in its place.
func (m *Masker) elements(dec *jsontext.Decoder, enc *jsontext.Encoder, value func() error) error {
	open, err := dec.ReadToken()
	if err != nil {
		return err
	}
	if err := enc.WriteToken(open); err != nil {
		return err
	}
	if open.Kind() == 'n' {
		return nil
	}
	if open.Kind() != '[' {
		return errors.New("not a list")
	}
	for dec.PeekKind() != ']' {
		if err := value(); err != nil {
			return err
		}
	}
	end, err := dec.ReadToken()
	if err != nil {
		return err
	}
	return enc.WriteToken(end)
}

// object copies an API object: one, or a list or a table of them. top is false
// for those in a list.
func (m *Masker) object(dec *jsontext.Decoder, enc *jsontext.Encoder, top bool) error {
	if dec.PeekKind() != '{' {
		return m.value(dec, enc, place{at: []*node{m.root}})
	}
	listed := false
	err := m.members(dec, enc, func(key string) error {
		switch {
		case top && key == "items" && dec.PeekKind() == '[':
			listed = true
			return m.elements(dec, enc, func() error { return m.object(dec, enc, false) })
		case top && key == "columnDefinitions" && dec.PeekKind() == '[':
			v, err := dec.ReadValue()
			if err != nil {
				return err
			}
			m.columns = nameColumns(v)
			return enc.WriteValue(v)
		case top && key == "rows" && dec.PeekKind() == '[':
			listed = true
			return m.elements(dec, enc, func() error { return m.row(dec, enc) })
		}
		return m.value(dec, enc, place{at: []*node{m.root}}.below(key))
	})
	if !listed {
		m.Objects++
	}
	return err
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

// row copies a row of a table: its cells, and the object that it is for.
func (m *Masker) row(dec *jsontext.Decoder, enc *jsontext.Encoder) error {
	return m.members(dec, enc, func(key string) error {
		switch {
		case key == "object" && dec.PeekKind() == '{':
			return m.object(dec, enc, false)
		case key == "cells" && dec.PeekKind() == '[':
			i := -1
			return m.elements(dec, enc, func() error {
				i++
				if m.cells && (i >= len(m.columns) || !m.columns[i]) && dec.PeekKind() != 'n' {
					m.Changed = true
					if err := dec.SkipValue(); err != nil {
						return err
					}
					return enc.WriteToken(jsontext.String(Withheld))
				}
				return m.value(dec, enc, place{})
			})
		}
		return m.value(dec, enc, place{})
	})
}

// place is where in an object a value is.
type place struct {
	at      []*node  // masks that lead further down from here
	reached []string // fields of masks that hold here
	path    []string // the first names from the object's root
}

func (p place) below(key string) place {
	next := place{reached: p.reached, path: p.path}
	for _, n := range p.at {
		if len(n.fields) > 0 && len(p.path) == 0 {
			next.reached = append(slices.Clip(next.reached), n.fields...) // the whole object
		}
		if child := n.children[key]; child != nil {
			next.at = append(next.at, child)
			next.reached = append(slices.Clip(next.reached), child.fields...)
		}
	}
	if len(p.path) < 4 {
		next.path = append(slices.Clip(p.path), key)
	}
	return next
}

// base64Text reports whether strings here are base64 of what they stand for,
// which typed clients insist on.
func (m *Masker) base64Text(p place) bool {
	return len(p.path) == 2 && (m.typ == "secrets" && p.path[0] == "data" || m.typ == "configmaps" && p.path[0] == "binaryData")
}

func (p place) lastApplied() bool {
	return len(p.path) == 3 && p.path[0] == "metadata" && p.path[1] == "annotations" && p.path[2] == lastApplied
}

// value copies a value, masked.
func (m *Masker) value(dec *jsontext.Decoder, enc *jsontext.Encoder, p place) error {
	rule := m.rest
	if len(p.reached) > 0 {
		rule = m.tree.Rule(p.reached...)
		if rule.Spec != nil && rule.Spec.Method == mask.Null && !identifies(p) {
			m.Changed = true
			if err := dec.SkipValue(); err != nil {
				return err
			}
			return enc.WriteToken(jsontext.Null)
		}
	} else if len(p.at) == 0 && rule.Passes() && !p.lastApplied() && (len(p.path) > 2 || len(p.path) > 0 && p.path[0] != "metadata") {
		v, err := dec.ReadValue()
		if err != nil {
			return err
		}
		return enc.WriteValue(v)
	}
	switch dec.PeekKind() {
	case '{':
		return m.members(dec, enc, func(key string) error { return m.value(dec, enc, p.below(key)) })
	case '[':
		return m.elements(dec, enc, func() error { return m.value(dec, enc, p) })
	case '"':
		t, err := dec.ReadToken()
		if err != nil {
			return err
		}
		return m.text(enc, t.String(), p, rule)
	default:
		t, err := dec.ReadToken()
		if err != nil {
			return err
		}
		found := false
		if t.Kind() == '0' && rule.Detect != nil {
			found = len(rule.Detect.Scan([]byte(t.String()), nil)) > 0
		}
		if t.Kind() != 'n' && (rule.Whole || rule.Spec != nil || found) && !identifies(p) {
			// A number or a truth value has no masked form that a typed client
			// could read.
			m.Changed = true
			return enc.WriteToken(jsontext.Null)
		}
		return enc.WriteToken(t)
	}
}

// identifies reports whether a value is one that clients cannot do without, and
// that the path of a request has anyway.
func identifies(p place) bool {
	switch len(p.path) {
	case 1:
		return p.path[0] == "kind" || p.path[0] == "apiVersion"
	case 2:
		return p.path[0] == "metadata" && slices.Contains([]string{"name", "namespace", "uid", "resourceVersion"}, p.path[1])
	}
	return false
}

func (m *Masker) text(enc *jsontext.Encoder, s string, p place, rule engine.FieldRule) error {
	if identifies(p) {
		return enc.WriteToken(jsontext.String(s))
	}
	if p.lastApplied() && !m.Idle() && len(p.reached) == 0 {
		return enc.WriteToken(jsontext.String(m.applied(s)))
	}
	if m.base64Text(p) {
		raw, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			raw = []byte(s)
		}
		out, changed := m.apply(raw, rule)
		if !changed {
			return enc.WriteToken(jsontext.String(s))
		}
		return enc.WriteToken(jsontext.String(base64.StdEncoding.EncodeToString(out)))
	}
	out, _ := m.apply([]byte(s), rule)
	return enc.WriteToken(jsontext.String(string(out)))
}

// apply masks one text.
func (m *Masker) apply(text []byte, rule engine.FieldRule) (out []byte, changed bool) {
	switch {
	case rule.Whole:
		out, changed = []byte(Withheld), true
	case rule.Spec != nil:
		var null bool
		if out, null = m.keyring.Field(nil, text, *rule.Spec, rule.Field); null {
			out = nil
		}
		if rule.Detect != nil {
			out, _ = m.keyring.Text(nil, out, rule.Detect, rule.DetectSpec)
		}
		changed = true
	case rule.Detect != nil:
		out, changed = m.keyring.Text(nil, text, rule.Detect, rule.DetectSpec)
	default:
		out = text
	}
	m.Changed = m.Changed || changed
	return out, changed
}

// applied masks the object in the annotation of kubectl apply.
func (m *Masker) applied(s string) string {
	var b bytes.Buffer
	objects, changed := m.Objects, m.Changed
	dec, enc := jsontext.NewDecoder(bytes.NewReader([]byte(s))), jsontext.NewEncoder(&b)
	err := m.object(dec, enc, false)
	m.Objects = objects
	if err == nil {
		if _, err := dec.ReadToken(); errors.Is(err, io.EOF) {
			return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
		}
	}
	m.Changed = changed || m.Changed
	m.Changed = true
	return Withheld
}

// plainReasons are the reasons of a Status whose message quotes nothing of an
// object but its name.
var plainReasons = []string{"NotFound", "AlreadyExists", "Conflict", "Expired", "Gone", "Timeout", "ServerTimeout", "TooManyRequests", "Unauthorized", "MethodNotAllowed", "NotAcceptable", "UnsupportedMediaType"}

// byRights is the message of the API server's own authorizer.
var byRights = regexp.MustCompile(`^[a-z0-9.-]+ "[^"]*" is forbidden: User "[^"]*" cannot [a-z]+ resource "[^"]*" in API group "[^"]*"( in the namespace "[^"]*"| at the cluster scope)?$`)

// status copies an error's Status. Admission can make it quote any field.
func (m *Masker) status(dec *jsontext.Decoder, enc *jsontext.Encoder) error {
	raw, err := dec.ReadValue()
	if err != nil {
		return err
	}
	reason, message := statusOf(raw)
	quotes := m.Reaches() && !slices.Contains(plainReasons, reason) && !byRights.MatchString(message)
	own := jsontext.NewDecoder(bytes.NewReader(raw))
	var copyTexts func(key string) error
	copyTexts = func(key string) error {
		switch own.PeekKind() {
		case '{':
			return m.members(own, enc, copyTexts)
		case '[':
			return m.elements(own, enc, func() error { return copyTexts(key) })
		case '"':
			t, err := own.ReadToken()
			if err != nil {
				return err
			}
			if quotes && key == "message" {
				m.Changed = true
				return enc.WriteToken(jsontext.String("[withheld by regate: the message may quote a masked value]"))
			}
			out, _ := m.apply([]byte(t.String()), m.rest)
			return enc.WriteToken(jsontext.String(string(out)))
		}
		v, err := own.ReadValue()
		if err != nil {
			return err
		}
		return enc.WriteValue(v)
	}
	return copyTexts("")
}

func statusOf(raw jsontext.Value) (reason, message string) {
	dec := jsontext.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.ReadToken(); err != nil || t.Kind() != '{' {
		return "", ""
	}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return "", ""
		}
		key := name.String()
		if dec.PeekKind() == '"' && (key == "reason" || key == "message") {
			t, err := dec.ReadToken()
			if err != nil {
				return "", ""
			}
			if key == "reason" {
				reason = t.String()
			} else {
				message = t.String()
			}
			continue
		}
		if dec.SkipValue() != nil {
			return "", ""
		}
	}
	return reason, message
}
