package record

// Chunk is the body of a chunk event: bytes that the agent is sent, masked.
type Chunk struct {
	Turn   uint64
	Format string // e.g. "postgres/backend": the protocol's own bytes
	Data   []byte // at most MaxChunk bytes
}

// Encode appends the body.
func (c Chunk) Encode(dst []byte) []byte {
	b := newBody(dst)
	b.uint(1, c.Turn)
	b.text(2, c.Format)
	b.bytes(3, c.Data)
	return b.done()
}

// DecodeChunk reads a body.
func DecodeChunk(p []byte) (Chunk, error) {
	var w struct {
		Turn   uint64 `cbor:"1,keyasint"`
		Format string `cbor:"2,keyasint"`
		Data   []byte `cbor:"3,keyasint"`
	}
	err := decodeBody(KindChunk, p, &w)
	return Chunk(w), err
}
