package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// Header is what is known of a recording before it begins.
type Header struct {
	Began   time.Time
	Title   string
	Command []string
	// Terminal: the program had one. Without, its lines end with a line feed alone,
	// which a player takes for a step down.
	Terminal bool
	// Width and Height are those of the first Resize; 0 is 80 and 24.
	Width, Height int
}

// Cast writes asciicast v2: a header, then an event a line. See
// https://docs.asciinema.org/manual/asciicast/v2/.
type Cast struct {
	w     io.Writer
	began time.Time
	last  float64
	raw   bool // lines end as they are
	kept  [3][]byte
	cr    bool // the last byte of output was a carriage return
}

// NewCast writes the header.
func NewCast(w io.Writer, h Header) (*Cast, error) {
	if h.Width <= 0 || h.Height <= 0 {
		h.Width, h.Height = 80, 24
	}
	line := struct {
		Version   int    `json:"version"`
		Width     int    `json:"width"`
		Height    int    `json:"height"`
		Timestamp int64  `json:"timestamp"`
		Command   string `json:"command,omitempty"`
		Title     string `json:"title,omitempty"`
	}{2, h.Width, h.Height, h.Began.Unix(), strings.Join(h.Command, " "), h.Title}
	c := &Cast{w: w, began: h.Began, raw: h.Terminal}
	return c, c.line(line)
}

func (c *Cast) line(v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("asciicast: %w", err)
	}
	_, err := c.w.Write(b.Bytes())
	return err
}

// Add writes what was recorded at a time; formats that a cast does not have are
// left out.
func (c *Cast) Add(at time.Time, format string, data []byte) error {
	switch format {
	case Stdout:
		return c.text(at, "o", 0, data)
	case Stderr:
		return c.text(at, "o", 1, data)
	case Stdin:
		return c.text(at, "i", 2, data)
	case Resize:
		if w, h, ok := Size(data); ok {
			return c.event(at, "r", fmt.Sprintf("%dx%d", w, h))
		}
	}
	return nil
}

// Size reads a Resize.
func Size(data []byte) (width, height int, ok bool) {
	var size struct{ Width, Height uint16 }
	if json.Unmarshal(data, &size) != nil || size.Width == 0 || size.Height == 0 {
		return 0, 0, false
	}
	return int(size.Width), int(size.Height), true
}

// text writes text; a character that a chunk breaks off waits for its rest.
func (c *Cast) text(at time.Time, code string, stream int, data []byte) error {
	data = append(c.kept[stream], data...)
	cut := len(data)
	for i := len(data) - 1; i >= 0 && i >= len(data)-utf8.UTFMax; i-- {
		if utf8.RuneStart(data[i]) {
			if !utf8.FullRune(data[i:]) {
				cut = i
			}
			break
		}
	}
	c.kept[stream] = append([]byte(nil), data[cut:]...)
	if cut == 0 {
		return nil
	}
	return c.event(at, code, c.lines(code, string(data[:cut])))
}

// lines gives the lines of a program without a terminal the ends that one would
// give them.
func (c *Cast) lines(code, s string) string {
	if c.raw || code != "o" {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if s[i] == '\n' && !c.cr {
			b.WriteByte('\r')
		}
		c.cr = s[i] == '\r'
		b.WriteByte(s[i])
	}
	return b.String()
}

func (c *Cast) event(at time.Time, code, text string) error {
	// Time never goes back in a cast.
	c.last = max(c.last, at.Sub(c.began).Seconds())
	return c.line([]any{json.Number(fmt.Sprintf("%.6f", c.last)), code, text})
}

// Close writes what is left of characters that were broken off.
func (c *Cast) Close(at time.Time) error {
	for stream, code := range []string{"o", "o", "i"} {
		if rest := c.kept[stream]; len(rest) > 0 {
			if err := c.event(at, code, strings.ToValidUTF8(string(rest), "\uFFFD")); err != nil {
				return err
			}
		}
	}
	return nil
}
