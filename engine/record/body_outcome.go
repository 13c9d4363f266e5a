package record

// Outcome is the body of an outcome event: how a request ended.
type Outcome struct {
	Turn         uint64
	Rows         int64
	Bytes        int64  // sent to the agent
	Tag          string // e.g. "SELECT 3"
	ErrorCode    string // e.g. a SQLSTATE, "" for none
	ErrorMessage string
	Cancelled    bool
	DurationNS   int64 // nanoseconds from request to end
	Limited      bool  // cut by a limit of the policy
}

// Encode appends the body.
func (o Outcome) Encode(dst []byte) []byte {
	b := newBody(dst)
	b.uint(1, o.Turn)
	b.int(2, o.Rows)
	b.int(3, o.Bytes)
	b.text(4, o.Tag)
	b.text(5, o.ErrorCode)
	b.text(6, o.ErrorMessage)
	b.bool(7, o.Cancelled)
	b.int(8, o.DurationNS)
	b.bool(9, o.Limited)
	return b.done()
}

// DecodeOutcome reads a body.
func DecodeOutcome(p []byte) (Outcome, error) {
	var w struct {
		Turn         uint64 `cbor:"1,keyasint"`
		Rows         int64  `cbor:"2,keyasint"`
		Bytes        int64  `cbor:"3,keyasint"`
		Tag          string `cbor:"4,keyasint"`
		ErrorCode    string `cbor:"5,keyasint"`
		ErrorMessage string `cbor:"6,keyasint"`
		Cancelled    bool   `cbor:"7,keyasint"`
		DurationNS   int64  `cbor:"8,keyasint"`
		Limited      bool   `cbor:"9,keyasint"`
	}
	err := decodeBody(KindOutcome, p, &w)
	return Outcome(w), err
}
