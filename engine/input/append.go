package input

import (
	"crypto/sha256"
	"strconv"
	"unicode/utf8"
)

// What is written here is the RFC 8785 form of the same values: a test holds
// it against the library. It is by hand because it is on the path of every
// decision.

func (r Request) appendJSON(b []byte) []byte {
	b = appendString(append(b, `{"digest":`...), r.Digest)
	b = appendString(append(b, `,"id":`...), r.ID)
	return append(b, '}')
}

func (s Session) appendJSON(b []byte) []byte {
	b = appendString(append(b, `{"client":{"address":`...), s.Client.Address)
	b = appendString(append(b, `,"application":`...), s.Client.Application)
	b = strconv.AppendBool(append(b, `,"tls":`...), s.Client.TLS)
	b = appendString(append(b, `},"id":`...), s.ID)
	b = append(b, `,"labels":[`...)
	for i, l := range s.Labels {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, l)
	}
	b = appendString(append(b, `],"started_at":`...), s.StartedAt)
	b = strconv.AppendInt(append(b, `,"usage":{"bytes":`...), s.Usage.Bytes, 10)
	b = strconv.AppendInt(append(b, `,"denials":`...), s.Usage.Denials, 10)
	b = strconv.AppendInt(append(b, `,"requests":`...), s.Usage.Requests, 10)
	b = strconv.AppendInt(append(b, `,"rows":`...), s.Usage.Rows, 10)
	return append(b, `}}`...)
}

// NewParameters is NewPart for the parameters of a call.
func NewParameters(list []Parameter) *Part {
	b := append(make([]byte, 0, 64*len(list)+2), '[')
	for i, p := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(append(b, `{"encoding":`...), p.Encoding)
		b = strconv.AppendInt(append(b, `,"index":`...), int64(p.Index), 10)
		b = appendString(append(b, `,"type":`...), p.Type)
		b = append(b, `,"value":`...)
		if p.Value == nil {
			b = append(b, `null`...)
		} else {
			b = appendString(b, *p.Value)
		}
		b = append(b, '}')
	}
	part := NewPart(list)
	part.once.Do(func() { part.json = append(b, ']') })
	part.digest = sha256.Sum256(part.json)
	return part
}

// appendString appends s as ECMAScript's JSON.stringify does. Bytes that are
// not UTF-8 become U+FFFD, as encoding/json writes them.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(append(b, s[from:i]...), "\uFFFD"...)
				from = i + 1
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		b = append(b, s[from:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, `\b`...)
		case '\f':
			b = append(b, `\f`...)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, `\u00`...)
			b = append(b, hex[c>>4], hex[c&15])
		}
		i++
		from = i
	}
	return append(append(b, s[from:]...), '"')
}
