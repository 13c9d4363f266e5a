package replay

import (
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/charmbracelet/x/ansi"
)

// What a recorded program wrote was meant for the agent's terminal. Shown on
// another one it must not do more than write: a terminal can be told to answer,
// to fill the clipboard, to change its title. So only what moves the cursor,
// erases and colours is kept.

// drawing are the final bytes of control sequences that only draw.
const drawing = "@ABCDEFGHJKLMPSTXZ`adefmrsu"

// modes are the private modes that may be set: where the cursor wraps, whether it
// is seen, the second screen.
var modes = []int{7, 25, 47, 1047, 1049}

// filter copies the output of a program, as far as it is harmless.
type filter struct {
	parser *ansi.Parser
	out    strings.Builder
	keep   bool // drawing too; else text alone
	cr     bool // a carriage return is held back: text alone
}

func newFilter(keep bool) *filter {
	f := &filter{parser: ansi.NewParser(), keep: keep}
	f.parser.SetHandler(ansi.Handler{Print: f.print, Execute: f.control, HandleCsi: f.sequence})
	return f
}

// write appends data; what a chunk breaks off goes on in the next.
func (f *filter) write(w io.Writer, data []byte) error {
	for _, b := range data {
		f.parser.Advance(b)
	}
	_, err := io.WriteString(w, f.out.String())
	f.out.Reset()
	return err
}

func (f *filter) print(r rune) {
	f.carriage()
	if unicode.IsGraphic(r) {
		f.out.WriteRune(r)
	}
}

// carriage writes the line end that a lone carriage return is in plain text: a
// progress bar begins its line anew.
func (f *filter) carriage() {
	if f.cr {
		f.out.WriteByte('\n')
	}
	f.cr = false
}

func (f *filter) control(b byte) {
	switch {
	case b == '\n':
		f.cr = false
		f.out.WriteByte(b)
	case b == '\r' && !f.keep:
		f.cr = true
	case b == '\t':
		f.carriage()
		f.out.WriteByte(b)
	case f.keep && (b == '\r' || b == '\b'):
		f.out.WriteByte(b)
	}
}

func (f *filter) sequence(cmd ansi.Cmd, params ansi.Params) {
	if !f.keep || cmd.Intermediate() != 0 {
		return
	}
	switch final := cmd.Final(); {
	case cmd.Prefix() == '?' && (final == 'h' || final == 'l'):
		mode, _, _ := params.Param(0, 0)
		if len(params) != 1 || !slices.Contains(modes, mode) {
			return
		}
	case cmd.Prefix() != 0 || strings.IndexByte(drawing, final) < 0:
		return
	}
	f.out.WriteString("\x1b[")
	if p := cmd.Prefix(); p != 0 {
		f.out.WriteByte(p)
	}
	params.ForEach(-1, func(i, param int, more bool) {
		if param >= 0 {
			f.out.WriteString(strconv.Itoa(param))
		}
		if i < len(params)-1 {
			f.out.WriteByte(map[bool]byte{false: ';', true: ':'}[more])
		}
	})
	f.out.WriteByte(cmd.Final())
}
