package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"
)

// screen is what people see.
type screen struct {
	mu     sync.Mutex
	w      io.Writer
	colour bool
	width  int
	steps  int
}

func newScreen(w io.Writer) *screen {
	s := &screen{w: w, width: 100}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		s.colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 40 {
			s.width = w
		}
	}
	return s
}

const (
	bold  = "1"
	dim   = "2"
	green = "32"
	red   = "1;31"
	cyan  = "36"
)

func (s *screen) paint(code, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s *screen) line(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(s.w, text)
}

// indent is in front of everything that belongs to a step.
const indent = "   "

// Write shows output of others, indented. It must be whole lines.
func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := range bytes.Lines(b) {
		if _, err := fmt.Fprintf(s.w, "%s%s", indent, line); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

func (s *screen) step(title string) {
	s.steps++
	s.line("\n" + s.paint(bold, fmt.Sprintf("%d. %s", s.steps, title)))
}

// say is a sentence of explanation.
func (s *screen) say(format string, args ...any) {
	s.line(indent + s.paint(dim, fmt.Sprintf(format, args...)))
}

// act shows what somebody does: a statement, or a command line.
func (s *screen) act(who, what string) {
	s.line(indent + s.paint(cyan, who+"> ") + what)
}

func (s *screen) check(format string, args ...any) {
	s.line(indent + s.paint(green, "✓ ") + fmt.Sprintf(format, args...))
}

func (s *screen) passed(text string) { s.line("\n" + s.paint(green, text)) }

func (s *screen) failed(err error) { s.line("\n" + s.paint(red, "FAILED: ") + err.Error()) }

// output shows what a command printed.
func (s *screen) output(text string) {
	if text = strings.TrimRight(text, "\n"); text != "" {
		_, _ = s.Write([]byte(text + "\n"))
	}
}
