package rows

import (
	"bytes"
	"fmt"
	"strings"
)

// copyText is COPY's text format: a line a row, values between delimiters,
// with a backslash in front of what would not stay in its place.
type copyText struct {
	plan      *Plan
	delimiter byte
	null      []byte
	ambiguous bool // a value may look like null
	header    bool // the next line is the header
	scanned   int  // of a row that has begun
	raw, out  []byte
}

func newCopyText(p *Plan, o CopyOptions) (*copyText, error) {
	t := &copyText{plan: p, delimiter: '\t', null: []byte(`\N`), header: o.Header}
	if o.Delimiter != 0 {
		t.delimiter = o.Delimiter
	}
	if err := checkDelimiter(t.delimiter); err != nil {
		return nil, err
	}
	if strings.IndexByte(`\.abcdefghijklmnopqrstuvwxyz0123456789`, t.delimiter) >= 0 {
		return nil, fmt.Errorf("copy: delimiter %q is not possible in text format", t.delimiter)
	}
	if o.NullSet {
		t.null = []byte(o.Null)
	}
	if bytes.ContainsAny(t.null, "\r\n") || bytes.IndexByte(t.null, t.delimiter) >= 0 {
		return nil, fmt.Errorf("copy: NULL string %q is not possible", t.null)
	}
	_, err := t.unescape(nil, t.null)
	t.ambiguous = len(t.null) > 0 && err == nil
	return t, nil
}

// split looks for a newline: within a value it is always escaped.
func (t *copyText) split(b []byte) (int, error) {
	i := bytes.IndexByte(b[t.scanned:], '\n')
	if i < 0 {
		t.scanned = len(b)
		return 0, nil
	}
	n := t.scanned + i + 1
	t.scanned = 0
	return n, nil
}

func (t *copyText) end(rest []byte) error { return endOfLines(rest) }

func (t *copyText) rewrite(dst, row []byte) ([]byte, error) {
	header := t.header
	t.header = false
	sent, pos, last := 0, 0, len(row)-1
	for i := range t.plan.columns {
		c := &t.plan.columns[i]
		if pos > last {
			return dst, errColumns("fewer", len(t.plan.columns))
		}
		end, err := t.value(row, pos)
		if err != nil {
			return dst, fmt.Errorf("%s: %w", c.label(), err)
		}
		v := row[pos:end]
		switch {
		case header:
			err = t.checkHeader(c, v)
		case !c.pass && (t.ambiguous || !bytes.Equal(v, t.null)):
			dst, sent, err = t.mask(dst, c, row, sent, pos, end)
		}
		if err != nil {
			return dst, fmt.Errorf("%s: %w", c.label(), err)
		}
		pos = end + 1
	}
	if pos != len(row) {
		return dst, errColumns("more", len(t.plan.columns))
	}
	return append(dst, row[sent:]...), nil
}

// value returns where the value that starts at pos ends.
func (t *copyText) value(row []byte, pos int) (int, error) {
	end := len(row) - 1
	if i := bytes.IndexByte(row[pos:end], t.delimiter); i >= 0 {
		end = pos + i
	}
	if bytes.IndexByte(row[pos:end], '\\') < 0 {
		return end, nil
	}
	for ; ; pos++ {
		switch row[pos] {
		case '\n', t.delimiter:
			return pos, nil
		case '\\':
			if pos++; row[pos] == '\n' {
				return 0, fmt.Errorf("%w: backslash at the end of a line", ErrMalformed)
			}
		}
	}
}

// mask appends row[sent:pos] and what replaces row[pos:end], and returns up to
// where the row is dealt with.
func (t *copyText) mask(dst []byte, c *column, row []byte, sent, pos, end int) ([]byte, int, error) {
	raw := row[pos:end]
	if bytes.IndexByte(raw, '\\') >= 0 {
		var err error
		if t.raw, err = t.unescape(t.raw[:0], raw); err != nil && !bytes.Equal(raw, t.null) {
			return dst, sent, err
		}
		raw = t.raw
	}
	var what outcome
	t.out, what = t.plan.value(t.out[:0], c, raw, false)
	switch what {
	case replaced:
		dst = t.escape(append(dst, row[sent:pos]...), t.out)
	case nulled:
		dst = append(append(dst, row[sent:pos]...), t.null...)
	default:
		return dst, sent, nil
	}
	return dst, end, nil
}

func (t *copyText) checkHeader(c *column, v []byte) error {
	var err error
	if t.raw, err = t.unescape(t.raw[:0], v); err != nil {
		return err
	}
	return checkHeader(c, t.raw)
}

// The letters that stand for control characters after a backslash.
const (
	letters  = "bfnrtv"
	controls = "\b\f\n\r\t\v"
)

// unescape appends the value that v stands for. Only what the server sends is
// taken: it never uses octal or hexadecimal escapes.
func (t *copyText) unescape(dst, v []byte) ([]byte, error) {
	for {
		i := bytes.IndexByte(v, '\\')
		if i < 0 {
			return append(dst, v...), nil
		}
		if i+1 == len(v) {
			return dst, fmt.Errorf("%w: backslash at the end of a value", ErrMalformed)
		}
		dst = append(dst, v[:i]...)
		c := v[i+1]
		if at := strings.IndexByte(letters, c); at >= 0 {
			c = controls[at]
		} else if c != '\\' && c != t.delimiter {
			return dst, fmt.Errorf("%w: escape \\%c", ErrMalformed, c)
		}
		dst, v = append(dst, c), v[i+2:]
	}
}

func (t *copyText) escape(dst, v []byte) []byte {
	for _, c := range v {
		if c == '\\' || c == t.delimiter {
			dst = append(dst, '\\', c)
		} else if at := strings.IndexByte(controls, c); c < 0x20 && at >= 0 {
			dst = append(dst, '\\', letters[at])
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}
