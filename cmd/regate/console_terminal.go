package main

import (
	"encoding/json"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/regate-dev/regate/engine/console/web"
)

// The recorded streams of a Kubernetes terminal.
const (
	streamStdout = "kubernetes/stdout"
	streamStderr = "kubernetes/stderr"
	streamStdin  = "kubernetes/stdin"
	streamResize = "kubernetes/resize"
)

// consoleTerminal shows them as asciicasts.
func consoleTerminal() web.Terminal {
	return web.Terminal{
		Formats: []string{streamStdout, streamStderr, streamStdin, streamResize},
		Cast:    func(w io.Writer) web.Cast { return newAsciicast(w) },
	}
}

// asciicast writes version 2 of the format: a header, then an event a line.
// What is no text becomes the replacement character, and a character that is
// split over two chunks goes with the second.
type asciicast struct {
	out   *json.Encoder
	begun bool
	split map[string][]byte // the start of a character, by stream
}

func newAsciicast(w io.Writer) *asciicast {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	return &asciicast{out: out, split: map[string][]byte{}}
}

// begin writes the header; the size is that of most terminals until one is
// recorded.
func (c *asciicast) begin(width, height int) error {
	if c.begun {
		return nil
	}
	c.begun = true
	return c.out.Encode(struct {
		Version int `json:"version"`
		Width   int `json:"width"`
		Height  int `json:"height"`
	}{2, width, height})
}

// Add implements web.Cast.
func (c *asciicast) Add(at time.Duration, format string, data []byte) error {
	if format == streamResize {
		return c.resize(at, data)
	}
	if err := c.begin(80, 24); err != nil {
		return err
	}
	kind := "o"
	if format == streamStdin {
		kind = "i"
	}
	text := append(c.split[format], data...)
	rest := len(text)
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if start := len(text) - n; utf8.RuneStart(text[start]) {
			if !utf8.FullRune(text[start:]) {
				rest = start
			}
			break
		}
	}
	c.split[format] = append([]byte(nil), text[rest:]...)
	if rest == 0 {
		return nil
	}
	return c.out.Encode([]any{at.Seconds(), kind, string(text[:rest])})
}

// resize takes the size of the agent's terminal. One that is absurd is not the
// browser's to draw.
func (c *asciicast) resize(at time.Duration, data []byte) error {
	var size struct{ Width, Height int }
	if json.Unmarshal(data, &size) != nil || size.Width < 1 || size.Height < 1 || size.Width > 1000 || size.Height > 500 {
		return nil
	}
	if !c.begun {
		return c.begin(size.Width, size.Height)
	}
	return c.out.Encode([]any{at.Seconds(), "r", strconv.Itoa(size.Width) + "x" + strconv.Itoa(size.Height)})
}

// Close implements web.Cast.
func (c *asciicast) Close() error { return c.begin(80, 24) }
