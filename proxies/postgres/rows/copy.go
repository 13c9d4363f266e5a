package rows

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// CopyOptions are the options of a COPY … TO STDOUT that decide what its data
// looks like. FORCE_QUOTE is not needed: what came quoted is sent quoted.
type CopyOptions struct {
	Format    string // "text" (or ""), "csv" or "binary"
	Delimiter byte   // 0: tab in text, comma in csv
	Quote     byte   // csv; 0: "
	Escape    byte   // csv; 0: Quote
	Null      string // what stands for NULL where NullSet; else \N in text, nothing in csv
	NullSet   bool
	Header    bool   // a line of column names comes first
	Encoding  string // "" or UTF8; another one cannot be searched, and is refused
	MaxRow    int    // bytes of the longest row that is put together; 0: DefaultMaxRow
}

// DefaultMaxRow is the longest row of a COPY that is put together, in bytes.
const DefaultMaxRow = 64 << 20

// Copy rewrites the data of one COPY … TO STDOUT. It is for one goroutine.
type Copy struct {
	plan   *Plan
	format format
	maxRow int
	carry  []byte // a row that has begun
	err    error  // the first error; there is no way on from it
}

// format is one of COPY's formats.
type format interface {
	// split returns the length of the first row in b, 0 where b ends within it.
	// It is called again with the same bytes and more, until it finds the end.
	split(b []byte) (int, error)
	// rewrite appends what is sent instead of a row that split has found.
	rewrite(dst, row []byte) ([]byte, error)
	// end checks that the data may end here; rest is a row that has begun.
	end(rest []byte) error
}

// NewCopy makes the rewriter of a COPY whose columns are the plan's, in order.
// An option that the rewriter does not know well enough is an error, and the
// statement must then be refused.
func NewCopy(p *Plan, o CopyOptions) (*Copy, error) {
	if p == nil {
		return nil, errors.New("copy: no plan: the data needs no rewriting")
	}
	switch strings.ToUpper(strings.NewReplacer("-", "", "_", "").Replace(o.Encoding)) {
	case "", "UTF8", "UNICODE":
	default:
		return nil, fmt.Errorf("copy: encoding %q cannot be masked; use UTF8", o.Encoding)
	}
	c := &Copy{maxRow: o.MaxRow}
	if c.maxRow <= 0 {
		c.maxRow = DefaultMaxRow
	}
	c.plan = &Plan{keyring: p.keyring, columns: slices.Clone(p.columns)}
	for i := range c.plan.columns {
		c.plan.columns[i].Binary = o.Format == "binary"
	}
	var err error
	switch o.Format {
	case "", "text":
		c.format, err = newCopyText(c.plan, o)
	case "csv":
		c.format, err = newCopyCSV(c.plan, o)
	case "binary":
		c.format, err = newCopyBinary(c.plan, o)
	default:
		err = fmt.Errorf("copy: unknown format %q", o.Format)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Data takes the payload of one CopyData message and appends to dst the
// payload to send instead: whole rows, or nothing while a row goes on. The
// boundaries of messages need not be those of rows. dst must not overlap data.
// After an error nothing more comes, and dst is returned as it was given.
func (c *Copy) Data(dst, data []byte) ([]byte, error) {
	if c.err != nil {
		return dst, c.err
	}
	base := len(dst)
	rest, carried := data, len(c.carry) > 0
	if carried {
		c.carry = append(c.carry, data...)
		rest = c.carry
	}
	for len(rest) > 0 {
		n, err := c.format.split(rest)
		if err == nil && n > 0 {
			dst, err = c.format.rewrite(dst, rest[:n])
		}
		if err != nil {
			c.err, c.carry = fmt.Errorf("copy: %w", err), nil
			return dst[:base], c.err
		}
		if n == 0 {
			break
		}
		rest = rest[n:]
	}
	switch {
	case len(rest) > c.maxRow:
		c.err, c.carry = fmt.Errorf("copy: a row is longer than %d bytes", c.maxRow), nil
		return dst[:base], c.err
	case len(rest) == 0 && cap(c.carry) > maxKeep:
		c.carry = nil
	case carried:
		c.carry = c.carry[:copy(c.carry, rest)]
	default:
		c.carry = append(c.carry[:0], rest...)
	}
	return dst, nil
}

// Message does what Data does and appends complete CopyData messages, or
// nothing.
func (c *Copy) Message(dst, data []byte) ([]byte, error) {
	base := len(dst)
	dst, err := c.Data(append(dst, 'd', 0, 0, 0, 0), data)
	switch n := len(dst) - base - 1; {
	case err != nil || n == 4:
		return dst[:base], err
	case n > math.MaxInt32:
		c.err = errors.New("copy: masked data is longer than a message can be")
		return dst[:base], c.err
	default:
		putLength(dst[base+1:], n)
	}
	return dst, nil
}

// Finish is called at CopyDone and appends what is left to send. It is an
// error where the data cannot end here.
func (c *Copy) Finish(dst []byte) ([]byte, error) {
	if c.err != nil {
		return dst, c.err
	}
	if err := c.format.end(c.carry); err != nil {
		c.err = fmt.Errorf("copy: %w", err)
		return dst, c.err
	}
	return dst, nil
}

// checkDelimiter refuses what PostgreSQL refuses of every delimiter.
func checkDelimiter(b byte) error {
	if b == '\n' || b == '\r' || b >= 0x80 {
		return fmt.Errorf("copy: delimiter %q is not possible", b)
	}
	return nil
}

// endOfLines is end for the formats of lines, each ended by a newline.
func endOfLines(rest []byte) error {
	if len(rest) > 0 {
		return fmt.Errorf("%w: data ends within a row", ErrMalformed)
	}
	return nil
}

// checkHeader compares a column name in a header line with the plan's.
func checkHeader(c *column, name []byte) error {
	if c.Name != "" && c.Name != string(name) {
		return fmt.Errorf("header names %q as column %d, not %q", name, c.index+1, c.Name)
	}
	return nil
}

func errColumns(got string, want int) error {
	return fmt.Errorf("%w: row of %s columns where %d were expected", ErrMalformed, got, want)
}
