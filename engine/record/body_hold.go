package record

// Hold is the body of a hold event: a request waits for approval.
type Hold struct {
	Turn    uint64
	Ticket  string // the approval's id
	Digest  string // what the approval is bound to
	WaitNS  int64  // nanoseconds the agent is made to wait
	Expires int64  // Unix time in nanoseconds when the ticket lapses
}

// Encode appends the body.
func (h Hold) Encode(dst []byte) []byte {
	b := newBody(dst)
	b.uint(1, h.Turn)
	b.text(2, h.Ticket)
	b.text(3, h.Digest)
	b.int(4, h.WaitNS)
	b.int(5, h.Expires)
	return b.done()
}

// DecodeHold reads a body.
func DecodeHold(p []byte) (Hold, error) {
	var w struct {
		Turn    uint64 `cbor:"1,keyasint"`
		Ticket  string `cbor:"2,keyasint"`
		Digest  string `cbor:"3,keyasint"`
		WaitNS  int64  `cbor:"4,keyasint"`
		Expires int64  `cbor:"5,keyasint"`
	}
	err := decodeBody(KindHold, p, &w)
	return Hold(w), err
}
