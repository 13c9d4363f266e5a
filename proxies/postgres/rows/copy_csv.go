package rows

import (
	"bytes"
	"fmt"
)

// copyCSV is COPY's csv format as the server writes it: a value is quoted from
// its first byte to its last, or has neither quotes nor newlines.
type copyCSV struct {
	plan      *Plan
	delimiter byte
	quote     byte
	escape    byte
	null      []byte
	header    bool // the next line is the header

	scanned int  // of a row that has begun
	quoted  bool // at scanned: within quotes
	escaped bool // at scanned: after an escape within quotes

	raw, out []byte
}

func newCopyCSV(p *Plan, o CopyOptions) (*copyCSV, error) {
	f := &copyCSV{plan: p, delimiter: ',', quote: '"', header: o.Header}
	if o.Delimiter != 0 {
		f.delimiter = o.Delimiter
	}
	if err := checkDelimiter(f.delimiter); err != nil {
		return nil, err
	}
	if o.Quote != 0 {
		f.quote = o.Quote
	}
	f.escape = f.quote
	if o.Escape != 0 {
		f.escape = o.Escape
	}
	if err := checkDelimiter(f.quote); err != nil || f.quote == f.delimiter {
		return nil, fmt.Errorf("copy: quote %q is not possible", f.quote)
	}
	if err := checkDelimiter(f.escape); err != nil {
		return nil, fmt.Errorf("copy: escape %q is not possible", f.escape)
	}
	if o.NullSet {
		f.null = []byte(o.Null)
	}
	if bytes.ContainsAny(f.null, "\r\n") || bytes.IndexByte(f.null, f.delimiter) >= 0 || bytes.IndexByte(f.null, f.quote) >= 0 {
		return nil, fmt.Errorf("copy: NULL string %q is not possible", f.null)
	}
	return f, nil
}

// split looks for a newline outside of quotes.
func (f *copyCSV) split(b []byte) (int, error) {
	if f.scanned == 0 {
		if i := bytes.IndexByte(b, '\n'); i >= 0 && bytes.IndexByte(b[:i], f.quote) < 0 {
			return i + 1, nil
		}
	}
	for i := f.scanned; i < len(b); i++ {
		c := b[i]
		switch {
		case f.escaped:
			f.escaped = false
		case f.quoted && c == f.escape && f.escape != f.quote:
			f.escaped = true
		case c == f.quote:
			f.quoted = !f.quoted // a doubled quote ends and begins
		case c == '\n' && !f.quoted:
			f.scanned = 0
			return i + 1, nil
		}
	}
	f.scanned = len(b)
	return 0, nil
}

func (f *copyCSV) end(rest []byte) error { return endOfLines(rest) }

func (f *copyCSV) rewrite(dst, row []byte) ([]byte, error) {
	header := f.header
	f.header = false
	sent, pos, last := 0, 0, len(row)-1
	for i := range f.plan.columns {
		c := &f.plan.columns[i]
		if pos > last {
			return dst, errColumns("fewer", len(f.plan.columns))
		}
		end, err := f.value(row, pos)
		if err != nil {
			return dst, fmt.Errorf("%s: %w", c.label(), err)
		}
		v := row[pos:end]
		switch {
		case header:
			err = checkHeader(c, f.unquote(v))
		case !c.pass && !bytes.Equal(v, f.null): // quoted, it would not be equal
			dst, sent = f.mask(dst, c, row, sent, pos, end)
		}
		if err != nil {
			return dst, err
		}
		pos = end + 1
	}
	if pos != len(row) {
		return dst, errColumns("more", len(f.plan.columns))
	}
	return append(dst, row[sent:]...), nil
}

// value returns where the value that starts at pos ends.
func (f *copyCSV) value(row []byte, pos int) (int, error) {
	if row[pos] != f.quote {
		end := len(row) - 1
		if i := bytes.IndexByte(row[pos:end], f.delimiter); i >= 0 {
			end = pos + i
		}
		// A newline can be here only within quotes, which are not.
		if bytes.IndexByte(row[pos:end], f.quote) >= 0 || bytes.IndexByte(row[pos:end], '\n') >= 0 {
			return 0, fmt.Errorf("%w: quote or newline within a value", ErrMalformed)
		}
		return end, nil
	}
	for pos++; pos < len(row); pos++ {
		switch c := row[pos]; {
		case c == f.escape && pos+1 < len(row) && (row[pos+1] == f.quote || row[pos+1] == f.escape):
			pos++
		case c == f.quote:
			if pos++; row[pos] != '\n' && row[pos] != f.delimiter {
				return 0, fmt.Errorf("%w: value goes on after its quote", ErrMalformed)
			}
			return pos, nil
		}
	}
	return 0, fmt.Errorf("%w: quote without an end", ErrMalformed)
}

func (f *copyCSV) mask(dst []byte, c *column, row []byte, sent, pos, end int) ([]byte, int) {
	v := row[pos:end]
	var what outcome
	f.out, what = f.plan.value(f.out[:0], c, f.unquote(v), false)
	switch what {
	case replaced:
		dst = f.write(append(dst, row[sent:pos]...), f.out, len(v) > 0 && v[0] == f.quote)
	case nulled:
		dst = append(append(dst, row[sent:pos]...), f.null...)
	default:
		return dst, sent
	}
	return dst, end
}

// unquote returns the value that v stands for, valid until the next call.
func (f *copyCSV) unquote(v []byte) []byte {
	if len(v) < 2 || v[0] != f.quote {
		return v
	}
	v = v[1 : len(v)-1]
	if bytes.IndexByte(v, f.escape) < 0 {
		return v
	}
	f.raw = f.raw[:0]
	for i := 0; i < len(v); i++ {
		if v[i] == f.escape && i+1 < len(v) && (v[i+1] == f.quote || v[i+1] == f.escape) {
			i++
		}
		f.raw = append(f.raw, v[i])
	}
	return f.raw
}

// write appends a value, in quotes where asked or where it must be: it would
// be read as something else, NULL, or (alone on its line) the end of data.
func (f *copyCSV) write(dst, v []byte, quote bool) []byte {
	for _, c := range v {
		quote = quote || c == f.delimiter || c == f.quote || c == '\n' || c == '\r'
	}
	if !quote && !bytes.Equal(v, f.null) && string(v) != `\.` {
		return append(dst, v...)
	}
	dst = append(dst, f.quote)
	for _, c := range v {
		if c == f.quote || c == f.escape {
			dst = append(dst, f.escape)
		}
		dst = append(dst, c)
	}
	return append(dst, f.quote)
}
