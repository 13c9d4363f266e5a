package record

// Forward is the body of a forward event: the request goes to the target.
type Forward struct {
	Turn uint64
}

// Encode appends the body.
func (f Forward) Encode(dst []byte) []byte {
	b := newBody(dst)
	b.uint(1, f.Turn)
	return b.done()
}

// DecodeForward reads a body.
func DecodeForward(p []byte) (Forward, error) {
	var w struct {
		Turn uint64 `cbor:"1,keyasint"`
	}
	err := decodeBody(KindForward, p, &w)
	return Forward(w), err
}
