package replay

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The formats of recorded bytes that a Renderer reads. They are part of the
// recording format.
const (
	Backend = "postgres/backend" // messages as the agent was sent them
	CopyIn  = "postgres/copy-in" // the payload of CopyData messages of the agent
)

// Options say how a recording is shown.
type Options struct {
	Width   int  // columns of the terminal; a wider table is shown a record at a time; 0: no limit
	Color   bool // ANSI colours
	MaxRows int  // rows, or lines of COPY, shown of each result; 0: all
}

// Renderer writes recorded messages as a person reads them. It holds a few
// rows at a time, however long a result is.
type Renderer struct {
	w   io.Writer
	o   Options
	m   *machine
	buf bytes.Buffer
	err error

	format string // of Write

	table   *table
	rows    int // of the result
	copying copyState
}

// copyState is a COPY that is going on.
type copyState struct {
	out, binary bool
	line        []byte // of text, without its end
	lines       int
	bytes       int64
}

// New makes a renderer whose Write takes format Backend.
func New(w io.Writer, o Options) *Renderer {
	r := &Renderer{w: w, o: o, format: Backend}
	r.m = newMachine(r)
	return r
}

// NewCopyIn makes a renderer whose Write takes format CopyIn, for one COPY.
func NewCopyIn(w io.Writer, o Options) *Renderer {
	r := New(w, o)
	r.format = CopyIn
	return r
}

// Write shows recorded bytes of the renderer's format; they may be cut
// anywhere. Errors are of the recording, which cannot be read on, or of the
// writer.
func (r *Renderer) Write(data []byte) error { return r.WriteFormat(r.format, data) }

// WriteFormat shows recorded bytes of any format. One that is not known is
// mentioned with its size.
func (r *Renderer) WriteFormat(format string, data []byte) error {
	if r.err != nil {
		return r.err
	}
	switch format {
	case Backend:
		r.err = r.m.push(data)
	case CopyIn:
		r.err = r.copyData(data)
	default:
		r.err = r.note(fmt.Sprintf("%d bytes of %s", len(data), format))
	}
	if err := r.drain(); r.err == nil {
		r.err = err
	}
	return r.err
}

// Flush shows what is held back. Data that ends within a message is an error.
func (r *Renderer) Flush() error {
	if r.err != nil {
		return r.err
	}
	r.endTable("(incomplete: ", ")")
	r.endCopy()
	if n := len(r.m.frames.carry); n > 0 {
		r.err = fmt.Errorf("recording ends within a message, after %d bytes of it", n)
	}
	if err := r.drain(); r.err == nil {
		r.err = err
	}
	return r.err
}

func (r *Renderer) drain() error {
	_, err := r.buf.WriteTo(r.w)
	if err != nil {
		return fmt.Errorf("write replay: %w", err)
	}
	return nil
}

// The colours of what is shown.
const (
	bold   = "1"
	dim    = "2"
	red    = "1;31"
	yellow = "33"
)

func (o *Options) paint(colour, text string) string {
	if !o.Color || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func (r *Renderer) line(text string) {
	r.buf.WriteString(text)
	r.buf.WriteByte('\n')
}

func (r *Renderer) columns(list []Column) error {
	r.endTable("(incomplete: ", ")")
	r.table, r.rows = newTable(&r.o, list), 0
	return nil
}

func (r *Renderer) row(v *values, list []Column, raw [][]byte) error {
	if r.table == nil { // rows after a suspended portal
		if err := r.columns(list); err != nil {
			return err
		}
	}
	r.rows++
	if r.o.MaxRows > 0 && r.rows > r.o.MaxRows {
		return nil
	}
	r.table.add(v, raw)
	if r.table.full() {
		r.table.write(&r.buf)
		return r.drain()
	}
	return nil
}

// endTable writes what is left of a table, and how many rows it had.
func (r *Renderer) endTable(before, after string) bool {
	if r.table == nil {
		return false
	}
	r.table.write(&r.buf)
	text := count(r.rows, "row")
	if hidden := r.rows - r.o.MaxRows; r.o.MaxRows > 0 && hidden > 0 {
		text += ", " + strconv.Itoa(hidden) + " not shown"
	}
	r.line(before + text + after)
	r.table = nil
	return true
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

func (r *Renderer) done(tag string) error {
	r.endCopy()
	if !r.endTable("(", ")") || !strings.HasPrefix(tag, "SELECT ") {
		r.line(r.o.paint(bold, escape(tag)))
	}
	return nil
}

func (r *Renderer) suspended() error {
	if r.table == nil {
		return r.note("no more rows for now")
	}
	r.endTable("(", "; the agent may fetch more)")
	return nil
}

func (r *Renderer) report(p Report, failed bool) error {
	colour := yellow
	if failed {
		colour = red
		r.endTable("(incomplete: ", ")")
		r.endCopy()
	}
	head := escape(p.Severity) + ":  "
	r.buf.WriteString(r.o.paint(colour, head))
	r.paragraph(len(head), p.Message, " ["+escape(p.Code)+"]")
	for _, f := range []struct{ name, text string }{
		{"DETAIL", p.Detail}, {"HINT", p.Hint}, {"CONTEXT", p.Context},
		{"SCHEMA", p.Schema}, {"TABLE", p.Table}, {"COLUMN", p.Column}, {"TYPE", p.DataType}, {"CONSTRAINT", p.Constraint},
	} {
		if f.text != "" {
			r.buf.WriteString(r.o.paint(colour, f.name+":  "))
			r.paragraph(len(f.name)+3, f.text, "")
		}
	}
	return nil
}

// paragraph writes text that may have several lines; those after the first are
// indented, so that none can look like a line of ours.
func (r *Renderer) paragraph(indent int, text, end string) {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if i > 0 {
			r.buf.WriteString(strings.Repeat(" ", indent))
		}
		r.buf.WriteString(escape(strings.TrimSuffix(l, "\r")))
		if i == len(lines)-1 {
			r.buf.WriteString(r.o.paint(dim, end))
		}
		r.buf.WriteByte('\n')
	}
}

func (r *Renderer) note(text string) error {
	r.line(r.o.paint(dim, "("+escape(text)+")"))
	return nil
}

func (r *Renderer) ready(status byte) error {
	r.endTable("(incomplete: ", ")")
	r.endCopy()
	return nil
}
