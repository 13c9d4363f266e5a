package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/oklog/ulid/v2"
)

// RecordingFormat is the first element of every archived file.
const RecordingFormat = "regate.recording/1"

// The trailer is a zstd skippable frame of fixed length, so that it is found
// from the file's end and ignored by other zstd tools.
const (
	trailerMagic   = 0x184d2a5e
	trailerContent = len(RecordingFormat) + 8 + 32 + 32
	trailerSize    = 8 + trailerContent
)

// zstdWindow bounds the memory of writers and readers, in bytes.
const zstdWindow = 1 << 20

// ObjectKey returns the name of a session's file: its day and its id, both
// from the ULID, so that every recorder arrives at the same name.
func ObjectKey(session ulid.ULID) string {
	day := ulid.Time(session.Time()).UTC().Format("2006/01/02")
	return "sessions/" + day + "/" + session.String() + ".cbor.zst"
}

// trailer ends a file. Sum covers every byte before it, compression included.
type trailer struct {
	Events uint64 // in the file
	Head   Hash   // the chain hash after the last of them
	Sum    Hash
}

func (t trailer) encode() []byte {
	b := binary.LittleEndian.AppendUint32(nil, trailerMagic)
	b = binary.LittleEndian.AppendUint32(b, uint32(trailerContent))
	b = append(b, RecordingFormat...)
	b = binary.BigEndian.AppendUint64(b, t.Events)
	b = append(b, t.Head[:]...)
	return append(b, t.Sum[:]...)
}

var errTrailer = errors.New("the file has no valid end: it is cut short or damaged")

func decodeTrailer(b []byte) (trailer, error) {
	var t trailer
	if len(b) != trailerSize ||
		binary.LittleEndian.Uint32(b) != trailerMagic ||
		binary.LittleEndian.Uint32(b[4:]) != uint32(trailerContent) ||
		!bytes.HasPrefix(b[8:], []byte(RecordingFormat)) {
		return t, errTrailer
	}
	b = b[8+len(RecordingFormat):]
	t.Events = binary.BigEndian.Uint64(b)
	copy(t.Head[:], b[8:])
	copy(t.Sum[:], b[40:])
	return t, nil
}

// recordingWriter writes one file. The same events give the same bytes.
type recordingWriter struct {
	w   io.Writer
	sum hash.Hash
	z   *zstd.Encoder
}

func newRecordingWriter(w io.Writer, session ulid.ULID) (*recordingWriter, error) {
	rw := &recordingWriter{w: w, sum: sha256.New()}
	z, err := zstd.NewWriter(io.MultiWriter(w, rw.sum),
		zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(zstdWindow), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, err
	}
	rw.z = z
	head := appendArray(nil, 2)
	head = appendText(head, RecordingFormat)
	head = appendBytes(head, session[:])
	_, err = z.Write(head)
	return rw, err
}

func (rw *recordingWriter) event(encoded []byte) error {
	_, err := rw.z.Write(encoded)
	return err
}

// finish writes the trailer and returns the file's SHA-256 up to it.
func (rw *recordingWriter) finish(events uint64, head Hash) error {
	if err := rw.z.Close(); err != nil {
		return err
	}
	t := trailer{Events: events, Head: head}
	rw.sum.Sum(t.Sum[:0])
	_, err := rw.w.Write(t.encode())
	return err
}

// RecordingReader reads the events of one file.
type RecordingReader struct {
	*EventReader
	Session ulid.ULID
	raw     *hashingReader
	z       *zstd.Decoder
	close   func() error
}

type hashingReader struct {
	r   io.Reader
	sum hash.Hash
}

func (h *hashingReader) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.sum.Write(p[:n])
	return n, err
}

// newRecordingReader reads the part of a file before the trailer.
func newRecordingReader(r io.Reader, closer func() error) (*RecordingReader, error) {
	raw := &hashingReader{r: r, sum: sha256.New()}
	z, err := zstd.NewReader(raw, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		return nil, errors.Join(err, closer())
	}
	rr := &RecordingReader{raw: raw, z: z, close: closer}
	head := make([]byte, 1+1+len(RecordingFormat)+1+16)
	if _, err := io.ReadFull(z, head); err != nil {
		return nil, errors.Join(fmt.Errorf("head: %w", err), rr.Close())
	}
	c := cursor{buf: head}
	c.array(2)
	if c.text() != RecordingFormat {
		c.fail()
	}
	c.fixed(rr.Session[:])
	if c.err != nil {
		return nil, errors.Join(fmt.Errorf("head: %w", c.err), rr.Close())
	}
	rr.EventReader = NewEventReader(z)
	return rr, nil
}

// sumRaw reads what is left of the compressed bytes and returns the SHA-256 of
// all of them.
func (rr *RecordingReader) sumRaw() (Hash, error) {
	_, err := io.Copy(io.Discard, rr.raw)
	var sum Hash
	rr.raw.sum.Sum(sum[:0])
	return sum, err
}

// Close releases the reader.
func (rr *RecordingReader) Close() error {
	rr.z.Close()
	return rr.close()
}
