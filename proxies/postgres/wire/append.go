package wire

import (
	"encoding/binary"
	"strconv"
)

// Begin starts a message: its type and room for its length. End finishes it.
func Begin(dst []byte, typ byte) (out []byte, start int) {
	return append(dst, typ, 0, 0, 0, 0), len(dst)
}

// End writes the length of the message that Begin started at start.
func End(dst []byte, start int) []byte {
	binary.BigEndian.PutUint32(dst[start+1:], uint32(len(dst)-start-1))
	return dst
}

// AppendText appends a zero-terminated string; bytes after a zero in it are
// dropped.
func AppendText(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if s[i] == 0 {
			s = s[:i]
			break
		}
	}
	return append(append(dst, s...), 0)
}

// AppendSync appends a Sync message.
func AppendSync(dst []byte) []byte { return append(dst, 'S', 0, 0, 0, 4) }

// AppendFlush appends a Flush message.
func AppendFlush(dst []byte) []byte { return append(dst, 'H', 0, 0, 0, 4) }

// AppendQuery appends a Query message.
func AppendQuery(dst []byte, sql string) []byte {
	dst, at := Begin(dst, 'Q')
	return End(AppendText(dst, sql), at)
}

// AppendDescribePortal appends a Describe message for a portal.
func AppendDescribePortal(dst []byte, portal string) []byte {
	dst, at := Begin(dst, 'D')
	dst = append(dst, 'P')
	return End(AppendText(dst, portal), at)
}

// AppendDescribeStatement appends a Describe message for a prepared statement.
func AppendDescribeStatement(dst []byte, statement string) []byte {
	dst, at := Begin(dst, 'D')
	dst = append(dst, 'S')
	return End(AppendText(dst, statement), at)
}

// AppendBindUnknown appends a Bind to a prepared statement that does not
// exist, which fails, and so puts the server into the state that any error
// puts it into.
func AppendBindUnknown(dst []byte, statement string) []byte {
	dst, at := Begin(dst, 'B')
	dst = AppendText(dst, "")
	dst = AppendText(dst, statement)
	dst = append(dst, 0, 0, 0, 0, 0, 0) // no formats, no parameters, no result formats
	return End(dst, at)
}

// AppendReady appends a ReadyForQuery message.
func AppendReady(dst []byte, tx byte) []byte { return append(dst, 'Z', 0, 0, 0, 5, tx) }

// Report is what an ErrorResponse or NoticeResponse says.
type Report struct {
	Severity string // ERROR, FATAL, NOTICE, …
	Code     string // SQLSTATE
	Message  string
	Detail   string
	Hint     string
	Position int // in characters, from 1; 0 for none
}

// AppendError appends an ErrorResponse.
func AppendError(dst []byte, r Report) []byte { return appendReport(dst, 'E', r) }

// AppendNotice appends a NoticeResponse.
func AppendNotice(dst []byte, r Report) []byte { return appendReport(dst, 'N', r) }

func appendReport(dst []byte, typ byte, r Report) []byte {
	dst, at := Begin(dst, typ)
	field := func(key byte, value string) {
		if value != "" {
			dst = AppendText(append(dst, key), value)
		}
	}
	field('S', r.Severity)
	field('V', r.Severity)
	field('C', r.Code)
	field('M', r.Message)
	field('D', r.Detail)
	field('H', r.Hint)
	if r.Position > 0 {
		field('P', strconv.Itoa(r.Position))
	}
	field('R', "regate")
	dst = append(dst, 0)
	return End(dst, at)
}

// ReportField returns one field of an ErrorResponse or NoticeResponse.
func ReportField(message []byte, key byte) string {
	b := NewBody(message)
	for {
		k := b.Byte()
		if k == 0 || b.Err() != nil {
			return ""
		}
		value := b.Text()
		if b.Err() != nil {
			return ""
		}
		if k == key {
			return string(value)
		}
	}
}
