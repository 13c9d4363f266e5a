package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"golang.org/x/term"
)

// style colours what is printed to a terminal, and nothing else.
type style struct{ colour bool }

func styleFor(w io.Writer) style {
	return style{colour: onTerminal(w) && os.Getenv("NO_COLOR") == ""}
}

func onTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (s style) paint(code, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s style) bold(text string) string { return s.paint("1", text) }
func (s style) dim(text string) string  { return s.paint("2", text) }
func (s style) good(text string) string { return s.paint("32", text) }
func (s style) bad(text string) string  { return s.paint("31", text) }

// effect writes a decision's effect, padded so that what follows lines up.
func (s style) effect(effect string) string {
	switch effect {
	case "allow":
		return s.good("allow")
	case "deny":
		return s.bad("deny ")
	case "require_approval":
		return s.paint("33", "held ")
	case "":
		return "-    "
	default:
		return plainText(effect)
	}
}

// plainText makes recorded text harmless on a terminal, in one line: control
// characters and the marks that turn the direction of text are written out.
func plainText(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r == '\r' {
			return ' '
		}
		return r
	}, plainBlock(s))
}

// plainBlock is plainText that keeps line ends and tabs.
func plainBlock(s string) string {
	harmless := func(r rune) bool {
		return r == '\n' || r == '\t' || unicode.IsGraphic(r) && r != unicode.ReplacementChar
	}
	if strings.IndexFunc(s, func(r rune) bool { return !harmless(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case harmless(r):
			b.WriteRune(r)
		case r == '\r' && strings.HasPrefix(s[i:], "\r\n"):
		case r == unicode.ReplacementChar:
			b.WriteString("�")
		default:
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return b.String()
}
