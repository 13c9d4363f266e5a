package record

import (
	"crypto/sha256"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// InputEntry is one top-level key of an input document: either the index of a
// part, or the key's own canonical JSON.
type InputEntry struct {
	Key  string
	Part uint32 // 0 where JSON holds the value
	JSON []byte
}

// UnmarshalCBOR implements cbor.Unmarshaler.
func (e *InputEntry) UnmarshalCBOR(p []byte) error {
	c := cursor{buf: p}
	c.array(2)
	e.Key = c.text()
	if c.err == nil && c.off < len(p) && p[c.off]&0xe0 == majorUint {
		n := c.uint()
		if n == 0 || n > 1<<32-1 {
			c.fail()
		}
		e.Part = uint32(n)
	} else {
		e.JSON = append([]byte{}, c.bytes()...)
	}
	if c.err != nil || c.off != len(p) {
		return fmt.Errorf("input entry: %w", errFormat)
	}
	return nil
}

// Request is the body of a request event: the exact input document of one
// decision.
type Request struct {
	Turn          uint64 // from 1 in a session; 0 for the session's own stage
	Time          int64  // Unix time in nanoseconds
	ID            string // the request's id
	RequestDigest string // what an approval is bound to, as in the document
	Stage         string // "session", "request" or "response"
	Input         []InputEntry
	InputDigest   Hash // see InputDigest
}

// Encode appends the body.
func (r Request) Encode(dst []byte) []byte {
	b := newBody(dst)
	b.uint(1, r.Turn)
	b.int(2, r.Time)
	b.text(3, r.ID)
	b.text(4, r.RequestDigest)
	b.text(5, r.Stage)
	if len(r.Input) != 0 {
		b.key(6)
		b.buf = appendArray(b.buf, len(r.Input))
		for i := range r.Input {
			e := &r.Input[i]
			b.buf = appendText(appendArray(b.buf, 2), e.Key)
			if e.Part != 0 {
				b.buf = appendUint(b.buf, uint64(e.Part))
			} else {
				b.buf = appendBytes(b.buf, e.JSON)
			}
		}
	}
	b.bytes(7, r.InputDigest[:])
	return b.done()
}

// DecodeRequest reads a body.
func DecodeRequest(p []byte) (Request, error) {
	var w struct {
		Turn          uint64       `cbor:"1,keyasint"`
		Time          int64        `cbor:"2,keyasint"`
		ID            string       `cbor:"3,keyasint"`
		RequestDigest string       `cbor:"4,keyasint"`
		Stage         string       `cbor:"5,keyasint"`
		Input         []InputEntry `cbor:"6,keyasint"`
		InputDigest   Hash         `cbor:"7,keyasint"`
	}
	err := decodeBody(KindRequest, p, &w)
	return Request(w), err
}

var _ cbor.Unmarshaler = (*InputEntry)(nil)

// Document puts the input document together again, in canonical form, and
// checks its digest. part returns the JSON of an index, nil for an unknown one.
func (r Request) Document(part func(index uint32) []byte) ([]byte, error) {
	doc := []byte{'{'}
	root := sha256.New()
	last := ""
	for i, e := range r.Input {
		raw := e.JSON
		if e.Part != 0 {
			if raw = part(e.Part); raw == nil {
				return nil, fmt.Errorf("input key %q: part %d is missing", e.Key, e.Part)
			}
		}
		if i > 0 {
			if e.Key <= last {
				return nil, fmt.Errorf("input key %q is out of order", e.Key)
			}
			doc = append(doc, ',')
		}
		last = e.Key
		doc = fmt.Appendf(doc, "%q:", e.Key)
		doc = append(doc, raw...)

		sum := sha256.Sum256(raw)
		root.Write([]byte(e.Key))
		root.Write([]byte{0})
		root.Write(sum[:])
	}
	doc = append(doc, '}')
	if sum := Hash(root.Sum(nil)); sum != r.InputDigest {
		return nil, fmt.Errorf("input document of turn %d: digest is %x, recorded as %x", r.Turn, sum, r.InputDigest)
	}
	return doc, nil
}
