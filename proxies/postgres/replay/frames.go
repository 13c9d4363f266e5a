package replay

import (
	"encoding/binary"
	"fmt"
)

// headerSize is a message's type and length.
const headerSize = 5

// maxMessage is the longest message that PostgreSQL sends: 1 GiB and its
// header.
const maxMessage = 1<<30 + headerSize

// frames cuts a stream of bytes into messages, however the stream arrives.
type frames struct {
	carry []byte
}

// push calls each for every message that data completes. body is valid during
// the call.
func (f *frames) push(data []byte, each func(kind byte, body []byte) error) error {
	if len(f.carry) > 0 {
		f.carry = append(f.carry, data...)
		data = f.carry
	}
	for len(data) >= headerSize {
		n := int(int32(binary.BigEndian.Uint32(data[1:])))
		if n < 4 || n > maxMessage {
			return fmt.Errorf("message %q of length %d", data[0], n)
		}
		if len(data) <= n {
			break
		}
		if err := each(data[0], data[headerSize:n+1]); err != nil {
			return err
		}
		data = data[n+1:]
	}
	if cap(f.carry) > 1<<20 && len(data) == 0 {
		f.carry = nil
	}
	f.carry = append(f.carry[:0], data...)
	return nil
}
