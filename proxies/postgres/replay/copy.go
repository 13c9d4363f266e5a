package replay

import (
	"bytes"
	"fmt"
)

// maxLine is how much of a line of COPY is shown.
const maxLine = 4096

func (r *Renderer) copyBegins(out, binary bool) error {
	r.endCopy()
	r.copying = copyState{out: out, binary: binary}
	way := "COPY from stdin:"
	if out {
		way = "COPY to stdout:"
	}
	r.line(r.o.paint(dim, way))
	return nil
}

// copyData shows the lines of a COPY as they are in its data, behind a mark
// that tells the agent's from the server's.
func (r *Renderer) copyData(data []byte) error {
	c := &r.copying
	c.bytes += int64(len(data))
	if c.binary {
		return nil
	}
	for len(data) > 0 {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			c.add(data)
			return nil
		}
		c.add(data[:i])
		r.copyLine()
		data = data[i+1:]
		if err := r.drain(); err != nil {
			return err
		}
	}
	return nil
}

func (c *copyState) add(data []byte) {
	if room := maxLine + 1 - len(c.line); room > 0 {
		c.line = append(c.line, data[:min(room, len(data))]...)
	}
}

func (r *Renderer) copyLine() {
	c := &r.copying
	c.lines++
	if r.o.MaxRows == 0 || c.lines <= r.o.MaxRows {
		mark := "< "
		if !c.out {
			mark = "> "
		}
		line := c.line
		tail := ""
		if len(line) > maxLine {
			line, tail = line[:maxLine], " …"
		}
		r.line(r.o.paint(dim, mark) + escape(string(line)) + tail)
	}
	c.line = c.line[:0]
}

func (r *Renderer) copyEnds() error {
	r.endCopy()
	return nil
}

// endCopy says how much a COPY was.
func (r *Renderer) endCopy() {
	c := &r.copying
	if c.bytes == 0 {
		return
	}
	if len(c.line) > 0 {
		r.copyLine()
	}
	text := fmt.Sprintf("%d bytes in binary format", c.bytes)
	if !c.binary {
		text = fmt.Sprintf("%s, %d bytes", count(c.lines, "line"), c.bytes)
		if hidden := c.lines - r.o.MaxRows; r.o.MaxRows > 0 && hidden > 0 {
			text += fmt.Sprintf(", %d not shown", hidden)
		}
	}
	r.line("(" + text + ")")
	*c = copyState{out: c.out, binary: c.binary, line: c.line[:0]}
}
