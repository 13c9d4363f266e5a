package rows

import (
	"bytes"
	"encoding/json"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonbVersion is the byte in front of jsonb's text in binary format.
const jsonbVersion = 1

// openJSON appends what comes before the JSON text.
func openJSON(dst []byte, k class, binary bool) []byte {
	if k == classJSONB && binary {
		return append(dst, jsonbVersion)
	}
	return dst
}

// bareJSON returns the text without what openJSON appends.
func bareJSON(v []byte, k class, binary bool) []byte {
	if k == classJSONB && binary && len(v) > 0 && v[0] == jsonbVersion {
		return v[1:]
	}
	return v
}

// json masks what is found within a JSON text and keeps it valid. Where that
// cannot be done in place, the whole text becomes the marker.
//
// The text is searched as a reader would see it: \u0040 is an @, and the n of
// \n is not a letter in front of the next word.
func (p *Plan) json(dst []byte, c *column, v []byte, binary bool) ([]byte, outcome) {
	text := bareJSON(v, c.class, binary)
	s := borrow()
	defer s.release()
	s.found = s.found[:0]
	if bytes.IndexByte(text, '\\') >= 0 {
		s.a = plainJSON(s.a[:0], text)
		text = s.a
		s.b = blankEscapes(s.b[:0], text)
		s.found = c.Rule.Detect.Scan(s.b, s.found)
	}
	base := len(dst)
	dst = openJSON(dst, c.class, binary)
	start := len(dst)
	dst, changed := p.keyring.Text(dst, text, c.Rule.Detect, c.method)
	switch {
	case !changed && len(s.found) == 0:
		return dst[:base], kept
	case changed && p.covered(s, c, text) && json.Valid(dst[start:]):
		return dst, replaced
	}
	return whole(dst[:base], c.class, binary)
}

// covered says whether everything in s.found lies in what is found in text,
// and so was masked there.
func (p *Plan) covered(s *scratch, c *column, text []byte) bool {
	if len(s.found) == 0 {
		return true
	}
	n := len(s.found)
	s.found = c.Rule.Detect.Scan(text, s.found)
	here := s.found[n:]
	for _, f := range s.found[:n] {
		in := false
		for _, g := range here {
			in = in || (g.Start <= f.Start && f.End <= g.End)
		}
		if !in {
			return false
		}
	}
	return true
}

// plainJSON appends text with every escape that a string does not need
// replaced by its character: an equal JSON text. What is not an escape is
// copied.
func plainJSON(dst, text []byte) []byte {
	for len(text) > 0 {
		i := bytes.IndexByte(text, '\\')
		if i < 0 || i+1 == len(text) {
			return append(dst, text...)
		}
		dst, text = append(dst, text[:i]...), text[i:]
		switch {
		case text[1] == '/':
			dst, text = append(dst, '/'), text[2:]
		case text[1] != 'u':
			dst, text = append(dst, text[:2]...), text[2:]
		default:
			r, size := escapedRune(text)
			switch {
			case size == 0:
				dst, text = append(dst, text[:2]...), text[2:]
				continue
			case r == '"' || r == '\\':
				dst = append(dst, '\\', byte(r))
			case r < 0x20 || r == utf8.RuneError:
				dst = append(dst, text[:size]...)
			default:
				dst = utf8.AppendRune(dst, r)
			}
			text = text[size:]
		}
	}
	return dst
}

// escapedRune reads \uXXXX, or a pair of them that make one character. size is
// 0 where there is none.
func escapedRune(b []byte) (r rune, size int) {
	unit := func(b []byte) rune {
		if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
			return -1
		}
		var r rune
		for _, c := range b[2:6] {
			d, ok := hexDigit(c)
			if !ok {
				return -1
			}
			r = r<<4 | rune(d)
		}
		return r
	}
	r = unit(b)
	if r < 0 {
		return 0, 0
	}
	if utf16.IsSurrogate(r) {
		if low := unit(b[6:]); low >= 0 {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				return pair, 12
			}
		}
		return utf8.RuneError, 6
	}
	return r, 6
}

// blankEscapes appends text, byte for byte as long, with the escapes that are
// left in it shown as a reader takes them: spaces, then the character.
func blankEscapes(dst, text []byte) []byte {
	base := len(dst)
	dst = append(dst, text...)
	out := dst[base:]
	for i := 0; i+1 < len(out); i++ {
		if out[i] != '\\' {
			continue
		}
		out[i] = ' '
		switch i++; out[i] {
		case 'n':
			out[i] = '\n'
		case 't', 'r', 'b', 'f':
			out[i] = ' '
		case 'u':
			for j := i; j < min(i+5, len(out)); j++ {
				out[j] = ' '
			}
			i += 4
		}
	}
	return dst
}

const hexDigits = "0123456789abcdef"

// quoteJSON appends text as a JSON string.
func quoteJSON(dst, text []byte) []byte {
	dst = append(dst, '"')
	for _, b := range text {
		switch {
		case b == '"' || b == '\\':
			dst = append(dst, '\\', b)
		case b < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&15])
		default:
			dst = append(dst, b)
		}
	}
	return append(dst, '"')
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
