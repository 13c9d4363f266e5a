package replay

import (
	"io"
	"slices"
	"strconv"
)

// Terminal shows one exec or attach to a person: what the agent saw, and at the
// end what it had typed.
type Terminal struct {
	w      io.Writer
	live   bool
	output *filter
	typed  []byte
	more   bool // typed does not hold all
	column bool // the last line has not ended
}

// maxTyped is how much of what was typed is shown, in bytes.
const maxTyped = 4 << 10

// NewTerminal returns one that writes to w. live says that w is a terminal on
// which the recording plays: then colours are kept, and what moves the cursor.
func NewTerminal(w io.Writer, live bool) *Terminal {
	return &Terminal{w: w, live: live, output: newFilter(live)}
}

// Takes reports whether a format is one that WriteAs shows.
func (t *Terminal) Takes(format string) bool { return slices.Contains(Formats, format) }

// WriteAs shows the next piece of a format.
func (t *Terminal) WriteAs(format string, data []byte) error {
	switch format {
	case Stdin:
		n := min(len(data), maxTyped-len(t.typed))
		t.typed = append(t.typed, data[:n]...)
		t.more = t.more || n < len(data)
	case Stdout, Stderr:
		if len(data) > 0 {
			t.column = data[len(data)-1] != '\n'
		}
		return t.output.write(t.w, data)
	}
	return nil
}

// Write implements record.Renderer: output.
func (t *Terminal) Write(data []byte) error { return t.WriteAs(Stdout, data) }

// Flush implements record.Renderer.
func (t *Terminal) Flush() error {
	end := ""
	if t.live {
		end = "\x1b[?1049l\x1b[?25h\x1b[0m"
	}
	if t.column {
		end += "\n"
	}
	if len(t.typed) > 0 {
		end += "typed: " + strconv.Quote(string(t.typed))
		if t.more {
			end += " …"
		}
		end += "\n"
	}
	_, err := io.WriteString(t.w, end)
	return err
}
