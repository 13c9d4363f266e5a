package record

// Part is the body of a part event: one piece of canonical JSON (of an input
// document, or a ruling) that later events of the session refer to.
type Part struct {
	Index  uint32 // from 1
	Digest Hash   // SHA-256 of JSON
	JSON   []byte // RFC 8785
}

// Encode appends the body.
func (p Part) Encode(dst []byte) []byte {
	b := newBody(dst)
	b.uint(1, uint64(p.Index))
	b.bytes(2, p.Digest[:])
	b.bytes(3, p.JSON)
	return b.done()
}

// DecodePart reads a body.
func DecodePart(p []byte) (Part, error) {
	var w struct {
		Index  uint32 `cbor:"1,keyasint"`
		Digest Hash   `cbor:"2,keyasint"`
		JSON   []byte `cbor:"3,keyasint"`
	}
	err := decodeBody(KindPart, p, &w)
	return Part(w), err
}
