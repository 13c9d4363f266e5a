package record

// Approval is the body of an approval event: what became of a held request.
type Approval struct {
	Turn     uint64
	Ticket   string
	Outcome  string // "approved", "denied", "expired", "cancelled", "consumed"
	By       string // who, "" for nobody
	ByIssuer string
	Reason   string
	Groups   []string // of By
}

// Encode appends the body.
func (a Approval) Encode(dst []byte) []byte {
	b := newBody(dst)
	b.uint(1, a.Turn)
	b.text(2, a.Ticket)
	b.text(3, a.Outcome)
	b.text(4, a.By)
	b.text(5, a.ByIssuer)
	b.text(6, a.Reason)
	b.texts(7, a.Groups)
	return b.done()
}

// DecodeApproval reads a body.
func DecodeApproval(p []byte) (Approval, error) {
	var w struct {
		Turn     uint64   `cbor:"1,keyasint"`
		Ticket   string   `cbor:"2,keyasint"`
		Outcome  string   `cbor:"3,keyasint"`
		By       string   `cbor:"4,keyasint"`
		ByIssuer string   `cbor:"5,keyasint"`
		Reason   string   `cbor:"6,keyasint"`
		Groups   []string `cbor:"7,keyasint"`
	}
	err := decodeBody(KindApproval, p, &w)
	return Approval(w), err
}
