package replay

import (
	"bufio"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestCast(t *testing.T) {
	var b strings.Builder
	began := time.Unix(1700000000, 0)
	c, err := NewCast(&b, Header{Began: began, Title: "exec", Command: []string{"sh", "-c", "ls"}})
	if err != nil {
		t.Fatal(err)
	}
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
	for i, e := range []struct{ format, data string }{
		{Resize, `{"Width":100,"Height":30}`}, {Stdin, "ls\n"}, {Stdout, "a\nb\r\n\xe2\x82"}, {Stderr, "no\n"}, {Stdout, "\xac <b>\xff"}, {Exit, "{}"}, {Stdout, "\xe2"},
	} {
		if err := c.Add(at(i*10), e.format, []byte(e.data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(at(100)); err != nil {
		t.Fatal(err)
	}
	const want = `{"version":2,"width":80,"height":24,"timestamp":1700000000,"command":"sh -c ls","title":"exec"}
[0.000000,"r","100x30"]
[0.010000,"i","ls\n"]
[0.020000,"o","a\r\nb\r\n"]
[0.030000,"o","no\r\n"]
[0.040000,"o","€ <b>\ufffd"]
[0.100000,"o","` + "\uFFFD" + `"]
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestTerminal(t *testing.T) {
	// Title, clipboard, a request for an answer, DCS, an unknown mode: never.
	const hostile = "\x1b]0;evil\x07\x1b]52;c;ZXZpbA==\x1b\\\x1b[6n\x1b[c\x1bP+q544e\x1b\\\x1b[?2004h\x1b[>0c\x1b[21t\x1bc\x07"
	in := "one\x1b[1;31mred\x1b[0m" + hostile + "\r\n50%\r100%\r\n\x1b[2J\x1b[?25l\x1b[38:2::1:2:3mx"
	for _, live := range []bool{false, true} {
		for size := 1; size < 8; size++ {
			var b strings.Builder
			r := NewTerminal(&b, live)
			for rest := in; rest != ""; {
				n := min(size, len(rest))
				if err := r.WriteAs(Stdout, []byte(rest[:n])); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			_ = r.WriteAs(Stdin, []byte("ls\r"))
			if err := r.Flush(); err != nil {
				t.Fatal(err)
			}
			want := "onered\n50%\n100%\nx\ntyped: \"ls\\r\"\n"
			if live {
				want = "one\x1b[1;31mred\x1b[0m\r\n50%\r100%\r\n\x1b[2J\x1b[?25l\x1b[38:2::1:2:3mx\x1b[?1049l\x1b[?25h\x1b[0m\ntyped: \"ls\\r\"\n"
			}
			if b.String() != want {
				t.Errorf("live %v, in pieces of %d: %q, want %q", live, size, b.String(), want)
			}
		}
	}
}

// Whatever was recorded, a cast is JSON lines of text whose time does not go
// back, and a terminal gets no string that it would act on.
func FuzzReplay(f *testing.F) {
	f.Add([]byte("a\xe2\x82\xac\x1b]0;x\x07\x1b[31m"), 2, true)
	f.Fuzz(func(t *testing.T, data []byte, size int, live bool) {
		size = max(1, size&15)
		var cast, shown strings.Builder
		c, err := NewCast(&cast, Header{Terminal: live})
		if err != nil {
			t.Fatal(err)
		}
		r := NewTerminal(&shown, live)
		for i, at := 0, (time.Time{}); i < len(data); i += size {
			part := data[i:min(i+size, len(data))]
			format := []string{Stdout, Stderr, Stdin, Resize}[int(part[0])&3]
			if err := c.Add(at, format, part); err != nil {
				t.Fatal(err)
			}
			if err := r.WriteAs(format, part); err != nil {
				t.Fatal(err)
			}
			at = at.Add(time.Millisecond)
		}
		_ = c.Close(time.Time{})
		_ = r.Flush()
		last := 0.0
		for lines := bufio.NewScanner(strings.NewReader(cast.String())); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "{") {
				continue
			}
			var event []any
			if err := json.Unmarshal(lines.Bytes(), &event); err != nil || len(event) != 3 || event[0].(float64) < last || !utf8.ValidString(event[2].(string)) {
				t.Fatalf("%q: %v", lines.Text(), err)
			}
			last = event[0].(float64)
		}
		for _, bad := range []string{"\x1b]", "\x1bP", "\x1b_", "\x1b^", "\x1bX", "\u009d", "\u0090"} {
			if strings.Contains(shown.String(), bad) {
				t.Fatalf("%q is shown", bad)
			}
		}
	})
}
