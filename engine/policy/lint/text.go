package lint

import (
	"fmt"
	"io"
	"strings"
	"unicode"
)

// Paint colours a word of a report for a terminal. Nil: nothing is coloured.
type Paint func(Severity, string) string

// WriteText writes a report for people: by file, each finding with its line of
// source, a caret and a fix.
func (r *Report) WriteText(w io.Writer, paint Paint) error {
	if paint == nil {
		paint = func(_ Severity, s string) string { return s }
	}
	var b strings.Builder
	file := "\x00"
	for _, f := range r.Findings {
		if f.File != file {
			if b.Len() > 0 {
				b.WriteByte('\n')
			}
			file = f.File
			name := harmless(file)
			if name == "" {
				name = "(no file)"
			}
			b.WriteString(name + "\n")
		}
		at := "-"
		if f.Line > 0 {
			at = fmt.Sprintf("%d:%d", f.Line, max(1, f.Column))
		}
		fmt.Fprintf(&b, "  %-8s %s  %s  [%s]\n", at, paint(f.Severity, string(f.Severity)), indent(f.Message, "          "), f.ID)
		if f.Source != "" {
			source, caret := pointAt(f.Source, f.Column)
			fmt.Fprintf(&b, "          | %s\n", source)
			if f.Column > 0 {
				fmt.Fprintf(&b, "          | %s\n", paint(f.Severity, caret))
			}
		}
		fmt.Fprintf(&b, "          fix: %s\n", indent(f.Fix, "          "))
	}
	if b.Len() > 0 {
		b.WriteByte('\n')
	}
	b.WriteString(r.Summary() + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// Summary is one line that says how many findings of what.
func (r *Report) Summary() string {
	s := fmt.Sprintf("%s in %s: %s, %s, %d info", quantity(len(r.Packages), "policy package"), quantity(len(r.Files), "file"),
		quantity(r.Count(Error), "error"), quantity(r.Count(Warning), "warning"), r.Count(Info))
	if r.Ignored > 0 {
		s += fmt.Sprintf(" (%d ignored)", r.Ignored)
	}
	return s
}

func quantity(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// indent keeps a message of several lines together.
func indent(s, by string) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	for i, line := range lines {
		lines[i] = harmless(line)
	}
	return strings.Join(lines, "\n"+by)
}

// maxSource is how many characters of a line are shown.
const maxSource = 120

// pointAt returns a line of source to be shown, and a caret below the column,
// which counts characters. Tabs become spaces so that both line up.
func pointAt(line string, column int) (source, caret string) {
	runes := []rune(line)
	column = min(max(column, 1), len(runes)+1)
	from := 0
	if column > maxSource { // of a long line show what is around the column
		from = column - maxSource/2
	}
	var b, gap strings.Builder
	if from > 0 {
		b.WriteString("…")
		gap.WriteString(" ")
	}
	for i, r := range runes[from:] {
		if i >= maxSource {
			b.WriteString("…")
			break
		}
		shown := harmless(string(r))
		if r == '\t' {
			shown = "    "
		}
		b.WriteString(shown)
		if from+i+1 < column {
			gap.WriteString(strings.Repeat(" ", len([]rune(shown))))
		}
	}
	return b.String(), gap.String() + "^"
}

// harmless writes out what would do something to a terminal.
func harmless(s string) string {
	if strings.IndexFunc(s, hostile) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\t':
			b.WriteByte(' ')
		case hostile(r):
			fmt.Fprintf(&b, "\\u%04x", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func hostile(r rune) bool { return !unicode.IsGraphic(r) || r == unicode.ReplacementChar }
