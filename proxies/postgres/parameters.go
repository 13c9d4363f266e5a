package postgres

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/postgres/catalog"
	"github.com/regate-dev/regate/proxies/postgres/wire"
)

var typeMaps = sync.Pool{New: func() any { return pgtype.NewMap() }}

// errUntyped is a binary value of a type that is not known yet.
var errUntyped = errors.New("a binary parameter of unknown type")

// parameters reads the values that a Bind message binds. It is nil when there
// are none.
func (s *session) parameters(p *portal) (*input.Part, error) {
	if p.cursor {
		return nil, nil
	}
	b := wire.NewBody(p.values)
	b.Text()
	b.Text()
	var values []input.Parameter
	err := eachArgument(&b, "Bind", func(i int, isBinary, null bool, raw []byte) error {
		var oid uint32
		if i < len(p.statement.types) {
			oid = p.statement.types[i]
		}
		if oid == 0 && isBinary && !p.statement.told {
			return errUntyped
		}
		values = append(values, parameter(s.snapshot, i+1, oid, isBinary, null, raw))
		return nil
	})
	if err != nil {
		return nil, err
	}
	for range int(uint16(b.Int16())) {
		b.Int16()
	}
	if b.Done() != nil {
		return nil, malformed("Bind")
	}
	if len(values) == 0 {
		return nil, nil
	}
	return input.NewParameters(values), nil
}

// eachArgument reads the formats and values that a Bind or FunctionCall
// message carries alike.
func eachArgument(b *wire.Body, message string, each func(i int, isBinary, null bool, raw []byte) error) error {
	formats := make([]int16, int(uint16(b.Int16())))
	for i := range formats {
		formats[i] = b.Int16()
		if b.Err() != nil {
			return malformed(message)
		}
	}
	n := int(uint16(b.Int16()))
	if b.Err() != nil || len(formats) > 1 && len(formats) != n {
		return malformed(message)
	}
	for i := range n {
		length := b.Int32()
		var raw []byte
		if length >= 0 {
			raw = b.Bytes(int(length))
		}
		if b.Err() != nil || length < -1 {
			return malformed(message)
		}
		format := int16(0)
		switch {
		case len(formats) == 1:
			format = formats[0]
		case len(formats) > 1:
			format = formats[i]
		}
		if format != 0 && format != 1 {
			return malformed(message)
		}
		if err := each(i, format == 1, length < 0, raw); err != nil {
			return err
		}
	}
	return nil
}

func parameter(snapshot *catalog.Snapshot, index int, oid uint32, isBinary, null bool, raw []byte) input.Parameter {
	p := input.Parameter{Index: index, Type: "unknown", Encoding: "text"}
	if oid != 0 && snapshot != nil {
		if name := snapshot.TypeName(oid); name != "" {
			p.Type = name
		}
	}
	if null {
		return p
	}
	text, ok := string(raw), utf8.Valid(raw)
	if isBinary {
		text, ok = binaryText(oid, raw)
	}
	if !ok {
		text, p.Encoding = base64.StdEncoding.EncodeToString(raw), "base64"
	}
	p.Value = &text
	return p
}

// binaryText converts a value from PostgreSQL's binary to its text form.
func binaryText(oid uint32, raw []byte) (string, bool) {
	switch oid {
	case pgtype.TextOID, pgtype.VarcharOID, pgtype.BPCharOID, pgtype.NameOID, pgtype.JSONOID, pgtype.XMLOID, pgtype.UnknownOID:
		return string(raw), utf8.Valid(raw)
	case pgtype.Int8OID:
		if len(raw) == 8 {
			return strconv.FormatInt(int64(binary.BigEndian.Uint64(raw)), 10), true
		}
	case pgtype.Int4OID:
		if len(raw) == 4 {
			return strconv.FormatInt(int64(int32(binary.BigEndian.Uint32(raw))), 10), true
		}
	}
	m := typeMaps.Get().(*pgtype.Map)
	defer typeMaps.Put(m)
	known, ok := m.TypeForOID(oid)
	if !ok {
		return "", false
	}
	value, err := known.Codec.DecodeValue(m, oid, pgtype.BinaryFormatCode, raw)
	if err != nil {
		return "", false
	}
	text, err := m.Encode(oid, pgtype.TextFormatCode, value, nil)
	if err != nil || text == nil {
		return "", false
	}
	return string(text), utf8.Valid(text)
}
