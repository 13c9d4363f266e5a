package record

// Decision is the body of a decision event.
type Decision struct {
	Turn   uint64
	ID     string
	Time   int64  // Unix time in nanoseconds
	Stage  string // as in the request
	Effect string // "allow", "deny" or "require_approval"
	Ruling uint32 // index of the part that holds the ruling's JSON, 0 for none
	Cached bool   // the ruling came from the decision cache
	TookNS int64  // nanoseconds spent deciding
}

// Encode appends the body.
func (d Decision) Encode(dst []byte) []byte {
	b := newBody(dst)
	b.uint(1, d.Turn)
	b.text(2, d.ID)
	b.int(3, d.Time)
	b.text(4, d.Stage)
	b.text(5, d.Effect)
	b.uint(6, uint64(d.Ruling))
	b.bool(7, d.Cached)
	b.int(8, d.TookNS)
	return b.done()
}

// DecodeDecision reads a body.
func DecodeDecision(p []byte) (Decision, error) {
	var w struct {
		Turn   uint64 `cbor:"1,keyasint"`
		ID     string `cbor:"2,keyasint"`
		Time   int64  `cbor:"3,keyasint"`
		Stage  string `cbor:"4,keyasint"`
		Effect string `cbor:"5,keyasint"`
		Ruling uint32 `cbor:"6,keyasint"`
		Cached bool   `cbor:"7,keyasint"`
		TookNS int64  `cbor:"8,keyasint"`
	}
	err := decodeBody(KindDecision, p, &w)
	return Decision(w), err
}
