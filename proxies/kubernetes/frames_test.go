package kubernetes

import (
	"encoding/binary"
	"testing"
)

// However frames are split, one that is too large is seen, and no other.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0x80, 3, 0, 1, 0, 0, 0, 1, 'x', 0, 0, 0, 1, 0, 0, 0, 0}, 1)
	f.Add([]byte{0x80, 3, 0, 1, 0, 1, 0, 0}, 3)
	f.Add([]byte{0, 0, 0, 1, 0, 0x20, 0, 0}, 8)
	f.Fuzz(func(t *testing.T, data []byte, size int) {
		size = max(1, size&31)
		large := false
		for rest := data; len(rest) >= 8 && !large; {
			n := int(binary.BigEndian.Uint32(rest[4:]) & 0xffffff)
			large = n > maxDataFrame || rest[0]&0x80 != 0 && n > maxControlFrame
			rest = rest[8:]
			rest = rest[min(n, len(rest)):]
		}
		var c frameCheck
		var err error
		for rest := data; len(rest) > 0 && err == nil; {
			n := min(size, len(rest))
			err = c.see(rest[:n])
			rest = rest[n:]
		}
		if large != (err != nil) {
			t.Errorf("%x in pieces of %d: %v", data, size, err)
		}
	})
}

// A message says the same when it has been read and is written again: what goes
// to the API server is what was decided and recorded.
func FuzzFrame(f *testing.F) {
	f.Add([]byte{0, 'a'}, true)
	f.Add([]byte{255, 0}, true)
	f.Add([]byte{255, 0}, false)
	f.Fuzz(func(t *testing.T, data []byte, v5 bool) {
		if len(data) == 0 {
			return
		}
		for _, stdin := range []bool{true, false} {
			c := &channels{stdin: stdin, v5: v5}
			message, record, err := c.onward(decodeFrame(data, v5))
			switch {
			case err != nil || message == nil:
			case string(message) != string(data):
				t.Errorf("%x becomes %x", data, message)
			case len(message) > 1 && message[0] != channelClose && record == "":
				t.Errorf("%x is sent on and not recorded", data)
			case message[0] == channelStdin && len(message) > 1 && !stdin, message[0] == channelStdout, message[0] == channelStderr, message[0] == channelError:
				if len(message) > 1 {
					t.Errorf("%x is sent on", data)
				}
			}
		}
	})
}
