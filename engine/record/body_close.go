package record

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/oklog/ulid/v2"
)

// ReasonGatewayDied is the reason of a Close that was written for a gateway
// that ended without closing its sessions.
const ReasonGatewayDied = "gateway-died"

// Close is the body of a session's last event: a signed receipt for all of it.
type Close struct {
	Reason    string
	Events    uint64   // of the session, this one included: its own sequence number
	Head      Hash     // the chain hash before this event
	Time      int64    // Unix time in nanoseconds, the event's own
	Gateway   string   // that ran the session
	Epoch     [16]byte // ULID of its run
	Number    uint64   // of the session in the epoch, from 1; 0 where the opening is lost
	KeyID     [16]byte // see KeyID
	Signature []byte   // Ed25519 over Signed
}

// Encode appends the body.
func (c Close) Encode(dst []byte) []byte {
	b := newBody(dst)
	b.text(1, c.Reason)
	b.uint(2, c.Events)
	b.bytes(3, c.Head[:])
	b.int(4, c.Time)
	b.text(5, c.Gateway)
	b.bytes(6, c.Epoch[:])
	b.uint(7, c.Number)
	b.bytes(8, c.KeyID[:])
	b.bytes(9, c.Signature)
	return b.done()
}

// DecodeClose reads a body.
func DecodeClose(p []byte) (Close, error) {
	var w struct {
		Reason    string   `cbor:"1,keyasint"`
		Events    uint64   `cbor:"2,keyasint"`
		Head      Hash     `cbor:"3,keyasint"`
		Time      int64    `cbor:"4,keyasint"`
		Gateway   string   `cbor:"5,keyasint"`
		Epoch     [16]byte `cbor:"6,keyasint"`
		Number    uint64   `cbor:"7,keyasint"`
		KeyID     [16]byte `cbor:"8,keyasint"`
		Signature []byte   `cbor:"9,keyasint"`
	}
	err := decodeBody(KindClose, p, &w)
	return Close(w), err
}

// Signed returns the bytes that are signed: the format, the session, and the
// body without its signature.
func (c Close) Signed(session ulid.ULID) []byte {
	c.Signature = nil
	dst := append([]byte("regate.receipt/1\x00"), session[:]...)
	return c.Encode(dst)
}

func (c *Close) sign(session ulid.ULID, key ed25519.PrivateKey) {
	c.KeyID = KeyID(key.Public().(ed25519.PublicKey))
	c.Signature = ed25519.Sign(key, c.Signed(session))
}

// Check verifies the receipt against the event that carries it, the chain hash
// before it, and the public key.
func (c Close) Check(e Event, head Hash, key ed25519.PublicKey) error {
	var errs []error
	if c.Events != e.Seq {
		errs = append(errs, fmt.Errorf("the receipt is for %d events, this is event %d", c.Events, e.Seq))
	}
	if c.Time != e.Time {
		errs = append(errs, errors.New("the receipt's time is not its event's"))
	}
	if c.Head != head {
		errs = append(errs, errors.New("the receipt is for other events"))
	}
	if key != nil {
		if id := KeyID(key); c.KeyID != id {
			errs = append(errs, fmt.Errorf("signed with key %x, not with %x", c.KeyID, id))
		} else if !ed25519.Verify(key, c.Signed(e.Session), c.Signature) {
			errs = append(errs, errors.New("the signature is wrong"))
		}
	}
	return errors.Join(errs...)
}
