package httpproxy

import (
	"testing"
)

// However the bytes arrive, the guard finds the same.
func FuzzGuard(f *testing.F) {
	f.Add([]byte("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;a\r\nhello\r\n0\r\nT: 1\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"), 7)
	f.Add([]byte("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\nHost: x\n\n"), 1)
	f.Fuzz(func(t *testing.T, in []byte, step int) {
		if step < 1 {
			return
		}
		var whole, split guardedConn
		whole.scan(in)
		for rest := in; len(rest) > 0; {
			n := min(step, len(rest))
			split.scan(rest[:n])
			rest = rest[n:]
		}
		a, b := whole.violation(), split.violation()
		if (a == nil) != (b == nil) || a != nil && a.Reason != b.Reason || whole.state != split.state || whole.left != split.left {
			t.Errorf("%v %d %d, in steps of %d %v %d %d", a, whole.state, whole.left, step, b, split.state, split.left)
		}
	})
}
