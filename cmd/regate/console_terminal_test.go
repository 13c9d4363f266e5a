package main

import (
	"strings"
	"testing"
	"time"
)

// TestAsciicast: sizes, both directions, a character in two chunks and bytes
// that are none.
func TestAsciicast(t *testing.T) {
	var out strings.Builder
	c := newAsciicast(&out)
	for _, e := range []struct {
		at     time.Duration
		format string
		data   string
	}{
		{0, streamResize, `{"Width":100,"Height":30}`},
		{0, streamStdout, "$ \x1b[1m"},
		{500 * time.Millisecond, streamStdin, "ls\r"},
		{time.Second, streamStdout, "gr\xc3"},
		{time.Second, streamStderr, "err"},
		{2 * time.Second, streamStdout, "\xbcn\r\n</script>"},
		{2 * time.Second, streamResize, `{"Width":1000000,"Height":1}`},
		{3 * time.Second, streamResize, `{"Width":80,"Height":24}`},
		{3 * time.Second, streamStdout, "\xff!"},
	} {
		if err := c.Add(e.at, e.format, []byte(e.data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	want := `{"version":2,"width":100,"height":30}
[0,"o","$ \u001b[1m"]
[0.5,"i","ls\r"]
[1,"o","gr"]
[1,"o","err"]
[2,"o","ün\r\n</script>"]
[3,"r","80x24"]
[3,"o","\ufffd!"]
`
	if out.String() != want {
		t.Errorf("%s\nwant\n%s", out.String(), want)
	}
	out.Reset()
	if err := newAsciicast(&out).Close(); err != nil || out.String() != "{\"version\":2,\"width\":80,\"height\":24}\n" {
		t.Errorf("an empty one: %q, %v", out.String(), err)
	}
}
