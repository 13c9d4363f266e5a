package replay

import (
	"encoding/hex"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgtype"
)

// values turns values into text.
type values struct {
	types *pgtype.Map
}

func newValues() *values { return &values{types: pgtype.NewMap()} }

// name is the name of one of PostgreSQL's own types, "" for others.
func (d *values) name(oid uint32) string {
	if t, ok := d.types.TypeForOID(oid); ok {
		return t.Name
	}
	return ""
}

// text is a value as PostgreSQL would write it. A binary value that cannot be
// decoded is written as \x and hexadecimal digits.
func (d *values) text(c *Column, v []byte) string {
	switch {
	case c.format == formatText, c.format == formatUnknown && printable(v):
		return string(v)
	}
	if text, ok := d.decode(c.TypeOID, v); ok {
		return text
	}
	if c.TypeOID == 0 && printable(v) {
		return string(v)
	}
	return `\x` + hex.EncodeToString(v)
}

// printable says whether v can be the text form of something.
func printable(v []byte) bool {
	for len(v) > 0 {
		r, n := utf8.DecodeRune(v)
		if r == utf8.RuneError && n == 1 || unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' {
			return false
		}
		v = v[n:]
	}
	return true
}

func (d *values) decode(oid uint32, v []byte) (text string, ok bool) {
	switch oid {
	case pgtype.TextOID, pgtype.VarcharOID, pgtype.BPCharOID, pgtype.NameOID, pgtype.JSONOID, pgtype.XMLOID, pgtype.UnknownOID:
		return string(v), true
	case pgtype.JSONBOID:
		if len(v) > 0 && v[0] == 1 {
			return string(v[1:]), true
		}
		return "", false
	case pgtype.ByteaOID:
		return `\x` + hex.EncodeToString(v), true
	}
	t, known := d.types.TypeForOID(oid)
	if !known {
		return "", false
	}
	// A recording may be damaged: a decoder that trips over it must not end the
	// replay.
	defer func() {
		if recover() != nil {
			text, ok = "", false
		}
	}()
	value, err := t.Codec.DecodeValue(d.types, oid, pgtype.BinaryFormatCode, v)
	if err != nil || value == nil {
		return "", false
	}
	out, err := d.types.Encode(oid, pgtype.TextFormatCode, value, nil)
	if err != nil || out == nil {
		return "", false
	}
	return string(out), true
}
