package record

// Note is the body of a note event: anything else worth knowing.
type Note struct {
	Turn uint64 // 0 for the session as a whole
	Code string // stable, e.g. "revoked", "token-expired"
	Text string
	JSON []byte // whatever else belongs to it
}

// Encode appends the body.
func (n Note) Encode(dst []byte) []byte {
	b := newBody(dst)
	b.uint(1, n.Turn)
	b.text(2, n.Code)
	b.text(3, n.Text)
	b.bytes(4, n.JSON)
	return b.done()
}

// DecodeNote reads a body.
func DecodeNote(p []byte) (Note, error) {
	var w struct {
		Turn uint64 `cbor:"1,keyasint"`
		Code string `cbor:"2,keyasint"`
		Text string `cbor:"3,keyasint"`
		JSON []byte `cbor:"4,keyasint"`
	}
	err := decodeBody(KindNote, p, &w)
	return Note(w), err
}
