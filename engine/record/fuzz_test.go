package record

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/oklog/ulid/v2"
)

func sampleFrame() []byte {
	events := Event{Session: ulid.ULID{1}, Seq: 1, Time: 5, Kind: KindNote, Body: Note{Code: "x"}.Encode(nil)}.Encode(nil)
	events = Event{Session: ulid.ULID{1}, Seq: 2, Time: -6, Kind: KindForward, Body: Forward{Turn: 1}.Encode(nil)}.Encode(events)
	return append(appendFrameHead(nil, FrameHead{Gateway: "g", Seq: 1, Time: 7, Events: 2}), events...)
}

// FuzzFrame: what decodes as a frame encodes to the same bytes, so no two
// frames are read alike.
func FuzzFrame(f *testing.F) {
	f.Add(sampleFrame())
	f.Add([]byte{0x89})
	f.Fuzz(func(t *testing.T, data []byte) {
		frame, err := DecodeFrame(data)
		if err != nil {
			return
		}
		again := appendFrameHead(nil, frame.FrameHead)
		if frame.Each(func(e Event, encoded []byte) error {
			if got := e.Encode(nil); !bytes.Equal(got, encoded) {
				t.Errorf("event %x encodes to %x", encoded, got)
			}
			again = append(again, encoded...)
			return nil
		}) == nil && !bytes.Equal(again, data) {
			t.Errorf("frame %x encodes to %x", data, again)
		}
	})
}

// FuzzEventReader: reading from a stream finds the same events as decoding
// from memory.
func FuzzEventReader(f *testing.F) {
	frame, err := DecodeFrame(sampleFrame())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(frame.Payload)
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewEventReader(bytes.NewReader(data))
		rest := data
		for {
			e, encoded, err := r.Next()
			want, n, wantErr := DecodeEvent(rest)
			if len(rest) == 0 {
				if !errors.Is(err, io.EOF) {
					t.Fatalf("at the end: %v", err)
				}
				return
			}
			if (err == nil) != (wantErr == nil) {
				t.Fatalf("stream: %v, memory: %v", err, wantErr)
			}
			if err != nil {
				return
			}
			if !bytes.Equal(encoded, rest[:n]) || e.Seq != want.Seq || e.Kind != want.Kind || !bytes.Equal(e.Body, want.Body) {
				t.Fatalf("stream: %+v, memory: %+v", e, want)
			}
			rest = rest[n:]
		}
	})
}

// FuzzBodies: decoders of bodies neither panic nor take much memory.
func FuzzBodies(f *testing.F) {
	list := bodies()
	for i, b := range list {
		f.Add(uint8(i), b.value.Encode(nil))
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		b := list[int(which)%len(list)]
		if v, err := b.decode(data); err == nil {
			again := v.(interface{ Encode([]byte) []byte }).Encode(nil)
			if _, err := b.decode(again); err != nil {
				t.Errorf("%x decodes, %x does not: %v", data, again, err)
			}
		}
	})
}

// FuzzRecording: a hostile file is refused or read, never more.
func FuzzRecording(f *testing.F) {
	var file bytes.Buffer
	w, err := newRecordingWriter(&file, ulid.ULID{1})
	if err != nil {
		f.Fatal(err)
	}
	e := Event{Session: ulid.ULID{1}, Seq: 1, Kind: KindNote, Body: Note{}.Encode(nil)}.Encode(nil)
	if err := errors.Join(w.event(e), w.finish(1, Hash{})); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := newRecordingReader(bytes.NewReader(data), func() error { return nil })
		if err != nil {
			return
		}
		defer r.Close()
		for range 1000 {
			if _, _, err := r.Next(); err != nil {
				return
			}
		}
	})
}
