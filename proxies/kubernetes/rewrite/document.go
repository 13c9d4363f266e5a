package rewrite

import (
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// document is a JSON document on its way: the outermost object, and lists of
// objects in it, go value by value, so that a list of any length takes little
// memory.
type document struct {
	m   *Masker
	w   io.Writer
	dec *jsontext.Decoder
	out []byte
}

// value reads one value and writes it as change leaves it.
func (d *document) value(change func(*walk)) error {
	raw, err := d.dec.ReadValue()
	if err != nil {
		return err
	}
	d.m.walk.begin(raw)
	change(&d.m.walk)
	_, err = d.w.Write(d.m.walk.end())
	return err
}

func (d *document) write(s string) error {
	_, err := io.WriteString(d.w, s)
	return err
}

// object is an API object: one, or a list or a table of them.
func (d *document) object() error {
	if _, err := d.dec.ReadToken(); err != nil {
		return err
	}
	m, listed, before := d.m, false, "{"
	for d.dec.PeekKind() != '}' {
		name, err := d.dec.ReadToken()
		if err != nil {
			return err
		}
		key := name.String()
		if d.out, err = jsontext.AppendQuote(append(d.out[:0], before...), key); err != nil {
			return err
		}
		before = ","
		if _, err := d.w.Write(append(d.out, ':')); err != nil {
			return err
		}
		list := d.dec.PeekKind() == '['
		switch {
		case key == "items" && list:
			listed = true
			err = d.list(func(w *walk) { w.object(w.start(), false) })
		case key == "rows" && list:
			listed = true
			err = d.list(func(w *walk) { w.row(w.start()) })
		case key == "columnDefinitions" && list:
			err = d.value(func(w *walk) { m.columns = nameColumns(w.src) })
		default:
			err = d.value(func(w *walk) { w.value(w.start(), m.root.top().below(m.typ, []byte(key))) })
		}
		if err != nil {
			return err
		}
	}
	if _, err := d.dec.ReadToken(); err != nil {
		return err
	}
	if !listed {
		m.Objects++
	}
	if before == "{" {
		return d.write("{}")
	}
	return d.write("}")
}

// list writes a list element by element.
func (d *document) list(change func(*walk)) error {
	if _, err := d.dec.ReadToken(); err != nil {
		return err
	}
	before := "["
	for d.dec.PeekKind() != ']' {
		if d.dec.PeekKind() == 0 {
			break // the error is that of the next read
		}
		if err := d.write(before); err != nil {
			return err
		}
		before = ","
		if err := d.value(change); err != nil {
			return err
		}
	}
	end, err := d.dec.ReadToken()
	if err != nil {
		return err
	}
	if end.Kind() != ']' {
		return errors.New("a list does not end")
	}
	if before == "[" {
		return d.write("[]")
	}
	return d.write("]")
}
