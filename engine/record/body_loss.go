package record

import "fmt"

// Gap is a range of events that were not acknowledged. They may be in the
// recording or not: the gateway could not know. After is the chain hash behind
// the last of them, so that the chain can be followed across the gap.
type Gap struct {
	First, Last uint64
	After       Hash
}

// UnmarshalCBOR implements cbor.Unmarshaler.
func (g *Gap) UnmarshalCBOR(p []byte) error {
	c := cursor{buf: p}
	c.array(3)
	g.First, g.Last = c.uint(), c.uint()
	c.fixed(g.After[:])
	if c.err != nil || c.off != len(p) || g.First == 0 || g.Last < g.First {
		return fmt.Errorf("gap: %w", errFormat)
	}
	return nil
}

// Loss is the body of a loss event.
type Loss struct {
	Count   uint64 // events in Gaps
	Refused uint64 // events that were refused without a number, while the journal was down
	Reason  string
	Gaps    []Gap
}

// Encode appends the body.
func (l Loss) Encode(dst []byte) []byte {
	b := newBody(dst)
	b.uint(1, l.Count)
	b.uint(2, l.Refused)
	b.text(3, l.Reason)
	if len(l.Gaps) != 0 {
		b.key(4)
		b.buf = appendArray(b.buf, len(l.Gaps))
		for _, g := range l.Gaps {
			b.buf = appendUint(appendArray(b.buf, 3), g.First)
			b.buf = appendUint(b.buf, g.Last)
			b.buf = appendBytes(b.buf, g.After[:])
		}
	}
	return b.done()
}

// DecodeLoss reads a body.
func DecodeLoss(p []byte) (Loss, error) {
	var w struct {
		Count   uint64 `cbor:"1,keyasint"`
		Refused uint64 `cbor:"2,keyasint"`
		Reason  string `cbor:"3,keyasint"`
		Gaps    []Gap  `cbor:"4,keyasint"`
	}
	err := decodeBody(KindLoss, p, &w)
	return Loss(w), err
}
