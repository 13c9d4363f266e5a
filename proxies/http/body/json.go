package body

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/regate-dev/regate/engine"
)

// Bounds of JSON.
const (
	maxDepth = 1000
	maxToken = 8 << 20 // bytes of one string or number
)

// ErrTooLarge is returned for a single value that is too large to be masked.
var ErrTooLarge = errors.New("a single string is longer than can be masked")

// window gives a decoder its input and keeps what has not been passed on yet.
type window struct {
	r    io.Reader
	buf  []byte
	head int   // buf[head:] is kept
	base int64 // offset of buf[head]
	full bool
}

// Read implements io.Reader.
func (w *window) Read(p []byte) (int, error) {
	if len(w.buf)-w.head > maxToken {
		w.full = true
		return 0, ErrTooLarge
	}
	if w.head > 0 {
		w.buf = w.buf[:copy(w.buf, w.buf[w.head:])]
		w.head = 0
	}
	n, err := w.r.Read(p)
	w.buf = append(w.buf, p[:n]...)
	return n, err
}

// upTo returns the kept bytes before an offset.
func (w *window) upTo(offset int64) []byte { return w.buf[w.head : w.head+int(offset-w.base)] }

// drop keeps only what is behind an offset.
func (w *window) drop(offset int64) {
	w.head += int(offset - w.base)
	w.base = offset
}

// JSON masks values as they come, one after the other: it is for one document
// and for lines of them. Write gets the pieces; done is called after each value
// at the top. An error means that the input is no JSON, or ended within a value,
// and that what was written so far is not all.
func (r *Rules) JSON(in io.Reader, write func([]byte) error, done func() error) error {
	w := &window{r: in}
	return r.walk(w, write, done)
}

func (r *Rules) walk(w *window, write func([]byte) error, done func() error) error {
	j := &walker{rules: r, w: w, write: write, d: jsontext.NewDecoder(w, jsontext.AllowDuplicateNames(true))}
	for {
		kind := j.d.PeekKind()
		if kind == jsontext.KindInvalid {
			if _, err := j.d.ReadToken(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return j.failed(err)
			}
		}
		if err := j.value(r.paths, nil, 0, false); err != nil {
			return j.failed(err)
		}
		if err := j.flush(); err != nil {
			return err
		}
		if err := done(); err != nil {
			return err
		}
	}
	// What is left is space.
	if err := write(w.buf[w.head:]); err != nil {
		return err
	}
	return done()
}

// walker is one pass over a stream of JSON.
type walker struct {
	rules *Rules
	w     *window
	d     *jsontext.Decoder
	write func([]byte) error
	names int // masked names so far, to keep them apart
}

func (j *walker) failed(err error) error {
	var syntactic *jsontext.SyntacticError
	switch {
	case j.w.full:
		return ErrTooLarge
	case errors.As(err, &syntactic), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the body is no JSON: %w", err)
	}
	return err
}

// piece is how much is written at once of what passes, in bytes.
const piece = 8 << 10

// pass lets everything up to where the decoder is through. It is written when
// there is enough of it, or something else has to be.
func (j *walker) pass() error {
	if j.d.InputOffset()-j.w.base < piece {
		return nil
	}
	return j.flush()
}

// flush writes everything up to where the decoder is.
func (j *walker) flush() error {
	offset := j.d.InputOffset()
	if err := j.write(j.w.upTo(offset)); err != nil {
		return err
	}
	j.w.drop(offset)
	return nil
}

// instead writes what is before the last token of n bytes, and text for it.
func (j *walker) instead(n int, text []byte) error {
	offset := j.d.InputOffset()
	before := j.w.upTo(offset)
	if err := j.write(before[:len(before)-n]); err != nil {
		return err
	}
	if err := j.write(text); err != nil {
		return err
	}
	j.w.drop(offset)
	return nil
}

// value masks the next value. reached are the fields that mask it as a whole;
// gone: it is within one that is left out.
func (j *walker) value(at *place, reached []string, depth int, gone bool) error {
	if depth > maxDepth {
		return errors.New("the body is nested too deep to be masked")
	}
	switch kind := j.d.PeekKind(); kind {
	case jsontext.KindBeginObject, jsontext.KindBeginArray:
		whole := len(reached) > 0 && !gone
		if _, err := j.d.ReadToken(); err != nil {
			return err
		}
		switch {
		case whole:
			out, _ := j.rules.field(nil, j.rules.tree.Rule(reached...))
			if err := j.instead(1, out); err != nil {
				return err
			}
			gone = true
		case gone:
			j.w.drop(j.d.InputOffset())
		default:
			if err := j.pass(); err != nil {
				return err
			}
		}
		if kind == jsontext.KindBeginObject {
			return j.members(at, depth, gone)
		}
		return j.elements(at, depth, gone)
	case jsontext.KindInvalid:
		_, err := j.d.ReadToken()
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	raw, err := j.d.ReadValue()
	if err != nil {
		return err
	}
	if gone {
		j.w.drop(j.d.InputOffset())
		return nil
	}
	return j.scalar(raw, reached)
}

func (j *walker) members(at *place, depth int, gone bool) error {
	for j.d.PeekKind() != jsontext.KindEndObject {
		raw, err := j.d.ReadValue()
		if err != nil {
			return err
		}
		name, err := j.rules.unquote(raw)
		if err != nil {
			return err
		}
		next, reached := j.rules.under(at, string(name))
		if gone {
			j.w.drop(j.d.InputOffset())
		} else if err := j.name(raw, name); err != nil {
			return err
		}
		if err := j.value(next, reached, depth+1, gone); err != nil {
			return err
		}
	}
	return j.end(gone)
}

func (j *walker) elements(at *place, depth int, gone bool) error {
	for j.d.PeekKind() != jsontext.KindEndArray {
		if err := j.value(at, nil, depth+1, gone); err != nil {
			return err
		}
	}
	return j.end(gone)
}

func (j *walker) end(gone bool) error {
	if _, err := j.d.ReadToken(); err != nil {
		return err
	}
	if gone {
		j.w.drop(j.d.InputOffset())
		return nil
	}
	return j.pass()
}

// name passes a member's name on. One that is a secret itself is masked and
// numbered, so that two of them stay two.
func (j *walker) name(raw, name []byte) error {
	r := j.rules
	if r.rest.Detect == nil {
		return j.pass()
	}
	masked, changed := r.keyring.Text(r.masked[:0], name, r.rest.Detect, r.rest.DetectSpec)
	r.masked = masked
	if !changed {
		return j.pass()
	}
	j.names++
	masked = strconv.AppendInt(append(masked, '~'), int64(j.names), 10)
	out, err := jsontext.AppendQuote(nil, masked)
	if err != nil {
		return err
	}
	return j.instead(len(raw), out)
}

func (j *walker) scalar(raw []byte, reached []string) error {
	rule := j.rules.rest
	if len(reached) > 0 {
		rule = j.rules.rule(reached)
	}
	out, changed, err := j.rules.scalar(raw, rule)
	if err != nil {
		return err
	}
	if !changed {
		return j.pass()
	}
	return j.instead(len(raw), out)
}

// scalar returns the JSON text of a masked value. raw is no object or list.
func (r *Rules) scalar(raw []byte, rule engine.FieldRule) (out []byte, changed bool, err error) {
	text := raw
	switch raw[0] {
	case 'n':
		return nil, false, nil
	case '"':
		if text, err = r.unquote(raw); err != nil {
			return nil, false, err
		}
	case 't', 'f':
		if rule.Spec == nil && !rule.Whole {
			return nil, false, nil
		}
	}
	if rule.Spec != nil || rule.Whole {
		out, err := r.field(text, rule)
		return out, true, err
	}
	if rule.Detect == nil {
		return nil, false, nil
	}
	masked, changed := r.keyring.Text(r.masked[:0], text, rule.Detect, rule.DetectSpec)
	r.masked = masked
	if !changed {
		return nil, false, nil
	}
	out, err = jsontext.AppendQuote(nil, masked)
	return out, true, err
}

// field returns the JSON text that stands for a value that is masked as a
// whole; nil text is an object or a list.
func (r *Rules) field(text []byte, rule engine.FieldRule) ([]byte, error) {
	if rule.Spec == nil || rule.Whole || text == nil && rule.Spec.Method != "null" {
		return []byte(`"[REDACTED]"`), nil
	}
	masked, null := r.keyring.Field(nil, text, *rule.Spec, rule.Field)
	if null {
		return []byte("null"), nil
	}
	if rule.Detect != nil {
		masked, _ = r.keyring.Text(nil, masked, rule.Detect, rule.DetectSpec)
	}
	return jsontext.AppendQuote(nil, masked)
}

// unquote returns the text of a JSON string, which is valid until the next
// call.
func (r *Rules) unquote(raw []byte) ([]byte, error) {
	if len(raw) < 2 || raw[0] != '"' {
		return nil, errors.New("the body is no JSON")
	}
	if inner := raw[1 : len(raw)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return inner, nil
	}
	var err error
	r.plain, err = jsontext.AppendUnquote(r.plain[:0], raw)
	return r.plain, err
}
