package rows

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"
	"unicode/utf8"
)

// maxDepth is how deep arrays and composites are taken apart; deeper ones are
// searched as raw bytes.
const maxDepth = 8

// finds says whether there is anything in a value whose type holds no free
// text. Such a value cannot be masked in place.
func (r *Rule) finds(s *scratch, oid uint32, v []byte, binary bool) bool {
	if binary {
		return r.findsBinary(s, oid, v, 0)
	}
	return r.findsText(s, oid, v)
}

// scan says whether there is anything in text.
func (r *Rule) scan(s *scratch, text []byte) bool {
	s.found = r.Detect.Scan(text, s.found[:0])
	return len(s.found) > 0
}

func (r *Rule) findsText(s *scratch, oid uint32, v []byte) bool {
	if r.scan(s, v) {
		return true
	}
	switch oid {
	case oidFloat4, oidFloat8: // 4.111e+15 is a card number too
		if bytes.IndexByte(v, 'e') < 0 {
			return false
		}
		f, err := strconv.ParseFloat(string(v), 64)
		return err == nil && r.findsFloat(s, f)
	}
	return bytes.IndexByte(v, '\\') >= 0 && r.findsEscaped(s, v)
}

// findsEscaped searches what escapes stand for, wherever they are in v, in an
// array, a composite: the text forms of bytea, \x6162 and a\000b, and JSON's
// \u0040.
func (r *Rule) findsEscaped(s *scratch, v []byte) bool {
	s.a = s.a[:0]
	whole := v
	for len(v) > 0 {
		i := bytes.IndexByte(v, '\\')
		if i < 0 {
			break
		}
		s.a, v = append(s.a, v[:i]...), v[i+1:]
		for len(v) > 0 && v[0] == '\\' {
			v = v[1:] // quoted within an array or a composite
		}
		switch {
		case len(v) > 0 && v[0] == 'x':
			v = v[1:]
			for len(v) >= 2 {
				high, ok := hexDigit(v[0])
				low, ok2 := hexDigit(v[1])
				if !ok || !ok2 {
					break
				}
				s.a, v = append(s.a, high<<4|low), v[2:]
			}
		case len(v) > 0 && v[0] == 'u':
			// The backslash is right before v.
			if r, size := escapedRune(whole[len(whole)-len(v)-1:]); size > 0 {
				s.a, v = utf8.AppendRune(s.a, r), v[size-1:]
			}
		case len(v) >= 3 && octal(v[0]) && octal(v[1]) && octal(v[2]):
			s.a, v = append(s.a, (v[0]-'0')<<6|(v[1]-'0')<<3|(v[2]-'0')), v[3:]
		}
	}
	s.a = append(s.a, v...)
	return r.scan(s, s.a)
}

func octal(c byte) bool { return '0' <= c && c <= '7' }

func (r *Rule) findsFloat(s *scratch, f float64) bool {
	if math.Abs(f) > 1e30 {
		return false // no number that is looked for has so many digits
	}
	s.a = strconv.AppendFloat(s.a[:0], f, 'f', -1, 64)
	return r.scan(s, s.a)
}

func (r *Rule) findsBinary(s *scratch, oid uint32, v []byte, depth int) bool {
	be := binary.BigEndian
	switch {
	case barren(oid):
		return false
	case oid == oidInt2 && len(v) == 2:
		return r.findsInt(s, int64(int16(be.Uint16(v))))
	case oid == oidInt4 && len(v) == 4:
		return r.findsInt(s, int64(int32(be.Uint32(v))))
	case oid == oidOID && len(v) == 4:
		return r.findsInt(s, int64(be.Uint32(v)))
	case oid == oidInt8 && len(v) == 8:
		return r.findsInt(s, int64(be.Uint64(v)))
	case oid == oidFloat4 && len(v) == 4:
		return r.findsFloat(s, float64(math.Float32frombits(be.Uint32(v))))
	case oid == oidFloat8 && len(v) == 8:
		return r.findsFloat(s, math.Float64frombits(be.Uint64(v)))
	case oid == oidNumeric:
		if text, ok := numericText(s.a[:0], v); ok {
			s.a = text
			return r.scan(s, text)
		}
	case oid == oidJSON || oid == oidJSONB:
		s.a = plainJSON(s.a[:0], bareJSON(v, classJSONB, oid == oidJSONB))
		s.b = blankEscapes(s.b[:0], s.a)
		return r.scan(s, s.a) || r.scan(s, s.b)
	}
	if r.scan(s, v) {
		return true
	}
	if classify(&Column{TypeOID: oid}) == classText || oid == oidBytea {
		return false
	}
	s.a = blankLengths(s.a[:0], v)
	if r.scan(s, s.a) || depth == maxDepth {
		return len(s.found) > 0
	}
	found := false
	look := func(oid uint32, v []byte) {
		found = found || r.findsBinary(s, oid, v, depth+1)
	}
	if bound, ok := rangeOf(oid); ok {
		eachBound(v, func(v []byte) { look(bound, v) })
		return found
	}
	if part, ok := multirangeOf(oid); ok {
		eachRange(v, func(v []byte) { look(part, v) })
		return found
	}
	eachElement(v, look)
	eachAttribute(v, look)
	return found
}

func (r *Rule) findsInt(s *scratch, n int64) bool {
	s.a = strconv.AppendInt(s.a[:0], n, 10)
	return r.scan(s, s.a)
}
