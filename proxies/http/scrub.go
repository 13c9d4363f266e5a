package httpproxy

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// leastSecret is how long a word must be to be looked for in answers: shorter
// ones are everywhere.
const leastSecret = 6

// spellings returns the ways in which an upstream may echo the words.
func spellings(words []string) [][]byte {
	var out [][]byte
	add := func(s string) {
		if len(s) >= leastSecret && !slices.ContainsFunc(out, func(o []byte) bool { return string(o) == s }) {
			out = append(out, []byte(s))
		}
	}
	for _, w := range words {
		add(w)
		add(url.QueryEscape(w))
		add(url.PathEscape(w))
		if quoted, err := json.Marshal(w); err == nil {
			add(string(quoted[1 : len(quoted)-1]))
		}
		add(strings.ReplaceAll(w, "/", `\/`))
	}
	// The longest first: one may be within another.
	slices.SortFunc(out, func(a, b []byte) int { return len(b) - len(a) })
	return out
}

// scrubbed reads an answer with every secret in it overwritten: by as many
// bytes, so that its length stays true.
type scrubbed struct {
	r     io.Reader
	words [][]byte
	hold  int // bytes that may begin a word
	buf   []byte
	ready int // of buf
	err   error
}

func newScrubbed(r io.Reader, words [][]byte) *scrubbed {
	return &scrubbed{r: r, words: words, hold: len(words[0]) - 1}
}

// Read implements io.Reader.
func (s *scrubbed) Read(p []byte) (int, error) {
	for s.ready == 0 {
		if s.err != nil {
			return 0, s.err
		}
		start := len(s.buf)
		s.buf = slices.Grow(s.buf, 32<<10)
		n, err := s.r.Read(s.buf[start : start+32<<10])
		s.buf, s.err = s.buf[:start+n], err
		scrub(s.buf, s.words)
		s.ready = len(s.buf)
		if err == nil {
			s.ready = max(0, len(s.buf)-s.begins())
		}
	}
	n := copy(p, s.buf[:s.ready])
	s.buf = s.buf[:copy(s.buf, s.buf[n:])]
	s.ready -= n
	return n, nil
}

// begins is how many bytes at the end may begin a word.
func (s *scrubbed) begins() int {
	for n := min(s.hold, len(s.buf)); n > 0; n-- {
		tail := s.buf[len(s.buf)-n:]
		for _, w := range s.words {
			if bytes.HasPrefix(w, tail) {
				return n
			}
		}
	}
	return 0
}

func scrub(b []byte, words [][]byte) {
	for _, w := range words {
		for at := 0; ; {
			i := bytes.Index(b[at:], w)
			if i < 0 {
				break
			}
			for k := range w {
				b[at+i+k] = '*'
			}
			at += i + len(w)
		}
	}
}

func scrubHeader(h http.Header, words [][]byte) {
	for _, values := range h {
		for i, v := range values {
			b := []byte(v)
			scrub(b, words)
			values[i] = string(b)
		}
	}
}
