package rows

import (
	"bytes"

	"github.com/regate-dev/regate/engine/mask"
)

// Marker stands for a text value that was replaced whole.
const Marker = "[REDACTED]"

// outcome is what became of one value.
type outcome uint8

const (
	kept     outcome = iota // send the value as it came
	replaced                // send what was appended
	nulled                  // send NULL
)

// value masks one value that is not NULL, in the format that binary tells.
// What replaces it is appended to dst; otherwise dst is returned as it was.
func (p *Plan) value(dst []byte, c *column, v []byte, binary bool) ([]byte, outcome) {
	switch {
	case c.pass:
		return dst, kept
	case c.Rule.Whole:
		return whole(dst, c.class, binary)
	case c.Rule.Spec != nil:
		return p.field(dst, c, v, binary)
	}
	switch c.class {
	case classText:
		base := len(dst)
		dst, changed := p.keyring.Text(dst, v, c.Rule.Detect, c.method)
		if !changed {
			return dst[:base], kept
		}
		return dst, replaced
	case classJSON, classJSONB:
		return p.json(dst, c, v, binary)
	}
	s := borrow()
	defer s.release()
	if c.Rule.finds(s, c.TypeOID, v, binary) {
		return dst, nulled
	}
	return dst, kept
}

// whole appends the strongest marker that a class of type can hold.
func whole(dst []byte, k class, binary bool) ([]byte, outcome) {
	switch k {
	case classText:
		return append(dst, Marker...), replaced
	case classJSON, classJSONB:
		return append(openJSON(dst, k, binary), `"`+Marker+`"`...), replaced
	}
	return dst, nulled
}

// field masks a value as its field's mask says. A partial mask shows a part of
// the value: where the column is searched too, see searched.
func (p *Plan) field(dst []byte, c *column, v []byte, binary bool) ([]byte, outcome) {
	spec := *c.Rule.Spec
	if c.class == classOther || spec.Method == mask.Null {
		return dst, nulled
	}
	if c.TypeOID == oidBPChar {
		v = bytes.TrimRight(v, " ") // else padding is all that a partial mask shows
	}
	search := c.Rule.Detect != nil && spec.Method == mask.Partial
	if c.class == classText && !search {
		dst, null := p.keyring.Field(dst, v, spec, c.Rule.Field)
		if null {
			return dst, nulled
		}
		return dst, replaced
	}
	s := borrow()
	defer s.release()
	v = bareJSON(v, c.class, binary)
	if search {
		v, spec = p.searched(s, c, v, spec)
	}
	var null bool
	s.b, null = p.keyring.Field(s.b[:0], v, spec, c.Rule.Field)
	switch {
	case null:
		return dst, nulled
	case c.class == classText:
		return append(dst, s.b...), replaced
	}
	return quoteJSON(openJSON(dst, c.class, binary), s.b), replaced
}

// searched prepares a value for its field's partial mask in a column that is
// searched too. Where the value is one finding, a card in the card's column,
// both masks are on the same thing: the stronger holds, and of two partial
// ones the field's, which knows better. What is found within a longer value is
// masked in it first.
func (p *Plan) searched(s *scratch, c *column, v []byte, spec mask.Spec) ([]byte, mask.Spec) {
	s.found = c.Rule.Detect.Scan(v, s.found[:0])
	switch {
	case len(s.found) == 0:
		return v, spec
	case len(s.found) == 1 && len(bytes.TrimSpace(v)) <= s.found[0].End-s.found[0].Start:
		if found := c.method(s.found[0].Kind); found.Method != mask.Partial {
			spec = mask.Join(spec, found)
		}
		return v, spec
	}
	s.a, _ = p.keyring.Text(s.a[:0], v, c.Rule.Detect, c.method)
	return s.a, spec
}
