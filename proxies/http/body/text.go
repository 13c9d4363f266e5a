package body

import (
	"errors"
	"io"
)

// chunk is how much of a text is read at once, in bytes.
const chunk = 32 << 10

// Text masks what detectors find in a text. It holds back only what may be the
// beginning of a finding, see mask.Stream.
func (r *Rules) Text(in io.Reader, write func([]byte) error, done func() error) error {
	var out []byte
	if r.rest.Detect == nil {
		return copyAll(in, write, done)
	}
	stream := r.keyring.NewStream(r.rest.Detect, r.rest.DetectSpec)
	buffer := make([]byte, chunk)
	for {
		n, err := in.Read(buffer)
		out = stream.Write(out[:0], buffer[:n])
		end := errors.Is(err, io.EOF)
		if end {
			out = stream.Flush(out)
		}
		if len(out) > 0 {
			if err := write(out); err != nil {
				return err
			}
			if err := done(); err != nil {
				return err
			}
		}
		if end {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func copyAll(in io.Reader, write func([]byte) error, done func() error) error {
	buffer := make([]byte, chunk)
	for {
		n, err := in.Read(buffer)
		if n > 0 {
			if err := write(buffer[:n]); err != nil {
				return err
			}
			if err := done(); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Copy passes a body on as it is.
func Copy(in io.Reader, write func([]byte) error, done func() error) error {
	return copyAll(in, write, done)
}
