package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/regate-dev/regate/engine/record"
	kubernetes "github.com/regate-dev/regate/proxies/kubernetes/replay"
	"github.com/regate-dev/regate/proxies/postgres/replay"
)

// renderers says who shows recorded results, by the format of their chunks.
// What is not listed is shown by plainRenderer. live says that the session plays
// in its own time.
func renderers(live bool) map[string]func(io.Writer) record.Renderer {
	all := map[string]func(io.Writer) record.Renderer{
		replay.Backend: func(w io.Writer) record.Renderer { return replay.New(w, replayOptions(w)) },
		replay.CopyIn:  func(w io.Writer) record.Renderer { return replay.NewCopyIn(w, replayOptions(w)) },
	}
	for _, format := range kubernetes.Formats {
		all[format] = func(w io.Writer) record.Renderer { return kubernetes.NewTerminal(w, live && isTerminal(w)) }
	}
	return all
}

// severalFormats is a renderer that shows what was recorded in several formats
// as one.
type severalFormats interface {
	record.Renderer
	Takes(format string) bool
	WriteAs(format string, data []byte) error
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// replayOptions fit the terminal. What is piped away is not cut to a width.
func replayOptions(w io.Writer) replay.Options {
	o := replay.Options{Color: styleFor(w).colour}
	if f, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			o.Width = width
		}
	}
	return o
}

// plainRenderer shows text as text and everything else as a hex dump, cut at
// plainLimit bytes.
func plainRenderer(w io.Writer) record.Renderer { return &plain{w: w} }

const plainLimit = 4 << 10

type plain struct {
	w    io.Writer
	head []byte
	size int
}

func (p *plain) Write(data []byte) error {
	p.size += len(data)
	p.head = append(p.head, data[:min(len(data), plainLimit-len(p.head))]...)
	return nil
}

func (p *plain) Flush() error {
	text := p.head
	if p.size > len(text) { // it may end inside a character
		for n := 0; n < utf8.UTFMax && len(text) > 0 && !utf8.Valid(text); n++ {
			text = text[:len(text)-1]
		}
	}
	if utf8.Valid(text) && !hasNUL(text) {
		if _, err := fmt.Fprintln(p.w, plainBlock(string(text))); err != nil {
			return err
		}
	} else if _, err := io.WriteString(p.w, hex.Dump(p.head)); err != nil {
		return err
	}
	if p.size > len(p.head) {
		_, err := fmt.Fprintf(p.w, "… %s more\n", byteSize(int64(p.size-len(p.head))))
		return err
	}
	return nil
}

func hasNUL(b []byte) bool {
	for _, c := range b {
		if c == 0 {
			return true
		}
	}
	return false
}
