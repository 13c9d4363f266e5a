package rows

import (
	"bytes"
	"strings"
)

// Message types of what ScrubError rewrites.
const (
	ErrorResponse  = 'E'
	NoticeResponse = 'N'
)

// Withheld is the message of an error that was scrubbed, behind the name of
// its condition.
const Withheld = "message withheld: masks are in force"

// notice is what ScrubError reads of a message; each field is a part of it.
type notice struct {
	fields [256][]byte
	seen   [256]bool
}

// ScrubError rewrites the body of an ErrorResponse or NoticeResponse (kind is
// the message's type) so that no field can carry a value from a table, and
// appends the complete message to dst. The severity, SQLSTATE and the server's
// source location stay. The message becomes the SQLSTATE's condition name.
// Detail, hint, context, internal query and positions are dropped. The names
// of schema, table, column, data type and constraint stay, unless the error
// was raised by a procedural language: a RAISE can put anything there, and
// into SQLSTATE.
//
// The message stays for errors that PostgreSQL's parser reports about the text
// of the statement itself, such as a column that does not exist: they hold
// nothing but what the agent wrote and the catalogue's names, and without them
// an agent cannot correct itself.
//
// ok is false where the body is malformed: an error without any of the
// server's words is appended then.
func ScrubError(dst, body []byte, kind byte) (out []byte, ok bool) {
	var n notice
	ok = n.parse(body)
	if !ok {
		n = notice{}
	}
	base := len(dst)
	dst = append(dst, kind, 0, 0, 0, 0)
	procedural := n.procedural()
	severity := n.severity('S', kind)
	dst = field(dst, 'S', severity)
	if n.seen['V'] {
		dst = field(dst, 'V', n.severity('V', kind))
	}
	code := n.code(kind, procedural)
	dst = field(dst, 'C', code)
	dst = append(dst, 'M')
	if n.ownText(code) {
		dst = append(dst, n.fields['M']...)
	} else {
		dst = append(dst, conditionName(code)...)
		dst = append(dst, " ("+Withheld+")"...)
	}
	dst = append(dst, 0)
	if !procedural {
		for _, f := range []byte("stcdn") {
			if n.seen[f] {
				dst = field(dst, f, string(n.fields[f]))
			}
		}
	}
	for _, f := range []byte("FLR") {
		if n.seen[f] {
			dst = field(dst, f, string(n.fields[f]))
		}
	}
	dst = append(dst, 0)
	putLength(dst[base+1:], len(dst)-base-1)
	return dst, ok
}

func field(dst []byte, kind byte, value string) []byte {
	dst = append(append(dst, kind), value...)
	return append(dst, 0)
}

func (n *notice) parse(body []byte) bool {
	for len(body) > 0 {
		kind := body[0]
		if body = body[1:]; kind == 0 {
			return len(body) == 0 && n.seen['S'] && n.seen['C'] && n.seen['M']
		}
		end := bytes.IndexByte(body, 0)
		if end < 0 || n.seen[kind] {
			return false
		}
		n.fields[kind], n.seen[kind] = body[:end], true
		body = body[end+1:]
	}
	return false
}

// procedural says whether a procedural language may have chosen the fields.
// The source file is the server's own statement about itself, which no SQL can
// change. Those of every such language start with pl: pl_exec.c, plperl.c,
// plpy_elog.c, pltcl.c, plv8.cc. An error that names no file is not trusted.
func (n *notice) procedural() bool {
	file := n.fields['F']
	return len(file) == 0 || bytes.HasPrefix(bytes.ToLower(file), []byte("pl"))
}

// severity is a field of severity; S may be in the server's language.
func (n *notice) severity(f, kind byte) string {
	v := string(n.fields[f])
	switch {
	case v == "" || len(v) > 32:
		if kind == NoticeResponse {
			return "NOTICE"
		}
		return "ERROR"
	}
	return v
}

// code is the SQLSTATE: where it may have been chosen, only a known one.
func (n *notice) code(kind byte, procedural bool) string {
	v := string(n.fields['C'])
	if len(v) == 5 && strings.Trim(v, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "" {
		if _, known := conditions[v]; known || !procedural {
			return v
		}
	}
	switch {
	case kind == NoticeResponse:
		return "00000"
	case procedural && v != "":
		return "P0001"
	}
	return "XX000"
}

// parserFiles are the source files of the parser and of parse analysis whose
// errors are about the statement's text. parse_type.c is not one of them:
// 'x'::regtype asks it at run time about a value.
var parserFiles = map[string]bool{
	"scan.l": true, "scan.c": true, "gram.y": true, "analyze.c": true,
	"parse_agg.c": true, "parse_clause.c": true, "parse_collate.c": true,
	"parse_cte.c": true, "parse_expr.c": true, "parse_func.c": true,
	"parse_oper.c": true, "parse_relation.c": true, "parse_target.c": true,
}

// ownText says whether the message is about the text of the agent's own
// statement: from the parser, with a position in that text, and without a
// context or an inner query, which every statement run by another one has.
func (n *notice) ownText(code string) bool {
	return strings.HasPrefix(code, "42") && n.seen['P'] && parserFiles[string(n.fields['F'])] &&
		!n.seen['W'] && !n.seen['q'] && !n.seen['p']
}

// conditionName is the name of a SQLSTATE's condition, or of its class.
func conditionName(code string) string {
	if name, ok := conditions[code]; ok {
		return name
	}
	if name, ok := conditions[code[:2]+"000"]; ok {
		return name
	}
	return "error"
}
