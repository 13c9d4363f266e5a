package body

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// halves is a stream that arrives in two reads.
type halves struct{ parts [][]byte }

func (h *halves) Read(to []byte) (int, error) {
	for len(h.parts) > 0 {
		n := copy(to, h.parts[0])
		if h.parts[0] = h.parts[0][n:]; len(h.parts[0]) == 0 {
			h.parts = h.parts[1:]
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, io.EOF
}

// dataOf is the data of every event of a stream that arrives in parts.
func dataOf(t *testing.T, parts ...[]byte) (all [][]byte) {
	t.Helper()
	r := NewEventReader(&halves{parts})
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.lines > 0 {
			all = append(all, bytes.Clone(e.Data))
		}
		// Events with other data are events with that data, whatever it is.
		// An LF at its beginning is of the CR before it.
		again, err := NewEventReader(bytes.NewReader(bytes.TrimPrefix(Rewrite(e, []byte("{}")), []byte("\n")))).Next()
		if e.lines > 0 && (err != nil || string(again.Data) != "{}") {
			t.Fatalf("%q became %q: %v", e.Raw, again.Data, err)
		}
	}
}

// Wherever a stream is cut on its way, its events are the same.
func FuzzEventSplit(f *testing.F) {
	f.Add([]byte("data: a\r\ndata: b\r\n\r\nid: 1\rdata: c\r\rdata:d\n\n: x\n\n"))
	f.Add([]byte("\xef\xbb\xbfdata: {\"a\":1}\n\nevent: message\r\ndata:\r\n\r\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		if len(stream) > 200 {
			return
		}
		want := dataOf(t, stream)
		for at := range len(stream) {
			got := dataOf(t, stream[:at], stream[at:])
			if len(got) != len(want) {
				t.Fatalf("cut at %d: %q, not %q", at, got, want)
			}
			for i := range want {
				if !bytes.Equal(got[i], want[i]) {
					t.Fatalf("cut at %d: %q, not %q", at, got, want)
				}
			}
		}
	})
}
