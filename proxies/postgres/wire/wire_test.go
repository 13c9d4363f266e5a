package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"testing"
	"testing/iotest"
)

func sample() (stream []byte, messages [][]byte) {
	for i, size := range []int{0, 1, 10, 4096, 70_000, 3, 300_000, 0} {
		var start int
		stream, start = Begin(stream, "QPDES"[i%5])
		stream = append(stream, bytes.Repeat([]byte{byte('a' + i)}, size)...)
		stream = End(stream, start)
		messages = append(messages, stream[start:len(stream):len(stream)])
	}
	return stream, messages
}

func readAll(rd *Reader) (out [][]byte, err error) {
	for {
		m, err := rd.Next()
		if err != nil {
			return out, err
		}
		out = append(out, bytes.Clone(m))
	}
}

func TestReaderAtEverySplit(t *testing.T) {
	stream, _ := sample()
	short, messages := stream[:0:0], [][]byte{}
	for _, size := range []int{0, 5, 1, 33} {
		var start int
		short, start = Begin(short, 'D')
		short = append(short, bytes.Repeat([]byte{'x'}, size)...)
		short = End(short, start)
		messages = append(messages, bytes.Clone(short[start:]))
	}
	for i := range len(short) + 1 {
		for j := i; j <= len(short); j++ {
			src := io.MultiReader(bytes.NewReader(short[i:j]), bytes.NewReader(short[j:]))
			got, err := readAll(NewReader(src, short[:i], 1<<20))
			if err != io.EOF || len(got) != len(messages) {
				t.Fatalf("split at %d and %d: %d messages, %v", i, j, len(got), err)
			}
			for k := range got {
				if !bytes.Equal(got[k], messages[k]) {
					t.Fatalf("split at %d and %d: message %d differs", i, j, k)
				}
			}
		}
	}
}

func TestReaderSources(t *testing.T) {
	stream, messages := sample()
	for name, src := range map[string]io.Reader{
		"whole": bytes.NewReader(stream), "one byte": iotest.OneByteReader(bytes.NewReader(stream)),
		"half": iotest.HalfReader(bytes.NewReader(stream)), "data and error": iotest.DataErrReader(bytes.NewReader(stream)),
	} {
		got, err := readAll(NewReader(src, nil, 1<<20))
		if err != io.EOF || len(got) != len(messages) {
			t.Fatalf("%s: %d messages, %v", name, len(got), err)
		}
		for k := range got {
			if !bytes.Equal(got[k], messages[k]) {
				t.Fatalf("%s: message %d differs", name, k)
			}
		}
	}
}

// timeouts fails every other read with a timeout.
type timeouts struct {
	r  io.Reader
	on bool
}

func (s *timeouts) Read(b []byte) (int, error) {
	if s.on = !s.on; s.on {
		return 0, os.ErrDeadlineExceeded
	}
	return s.r.Read(b[:min(len(b), 7)])
}

func TestReaderSurvivesTimeouts(t *testing.T) {
	stream, messages := sample()
	rd := NewReader(&timeouts{r: bytes.NewReader(stream)}, nil, 1<<20)
	var got [][]byte
	for {
		m, err := rd.Next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if len(got)%2 == 0 {
				rd.Shrink()
			}
			continue
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, bytes.Clone(m))
	}
	for k := range messages {
		if !bytes.Equal(got[k], messages[k]) {
			t.Fatalf("message %d differs", k)
		}
	}
}

func TestReaderRefuses(t *testing.T) {
	header := func(length uint32) []byte {
		return binary.BigEndian.AppendUint32([]byte{'Q'}, length)
	}
	var framing *FramingError
	for _, length := range []uint32{0, 3, 1 << 31, 1<<32 - 1} {
		if _, err := NewReader(bytes.NewReader(header(length)), nil, 1<<20).Next(); !errors.As(err, &framing) {
			t.Errorf("length %d: %v", length, err)
		}
	}
	var large *TooLargeError
	if _, err := NewReader(bytes.NewReader(header(1<<20)), nil, 1<<20).Next(); !errors.As(err, &large) {
		t.Errorf("too large: %v", err)
	}
	if _, err := NewReader(bytes.NewReader(header(10)), nil, 1<<20).Next(); err != io.ErrUnexpectedEOF {
		t.Errorf("cut short: %v", err)
	}
}

func FuzzReader(f *testing.F) {
	stream, _ := sample()
	f.Add(stream[:200], uint8(3))
	f.Add([]byte("Q\x00\x00\x00\x04S\x00\x00\x00\x04"), uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, step uint8) {
		whole, err1 := readAll(NewReader(bytes.NewReader(data), nil, 1<<16))
		pieces, err2 := readAll(NewReader(&stepped{data, int(step)%16 + 1}, nil, 1<<16))
		if len(whole) != len(pieces) || (err1 == nil) != (err2 == nil) {
			t.Fatalf("%d messages (%v) whole, %d (%v) in pieces", len(whole), err1, len(pieces), err2)
		}
		total := 0
		for i := range whole {
			if !bytes.Equal(whole[i], pieces[i]) || !bytes.Equal(whole[i], data[total:total+len(whole[i])]) {
				t.Fatal("messages differ")
			}
			total += len(whole[i])
			b := NewBody(whole[i])
			for b.Err() == nil && len(b.Rest()) > 0 {
				b.Text()
				b.Int16()
			}
			_ = ReportField(whole[i], 'M')
		}
	})
}

type stepped struct {
	data []byte
	step int
}

func (s *stepped) Read(b []byte) (int, error) {
	if len(s.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), s.step)], s.data)
	s.data = s.data[n:]
	return n, nil
}
