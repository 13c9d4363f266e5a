package record

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/oklog/ulid/v2"
	"gocloud.dev/blob"
)

// TombstoneFormat begins what is signed of a tombstone.
const TombstoneFormat = "regate.tombstone/1"

const tombstonesDir = "tombstones/"

// Tombstone says that a recording was deleted on purpose, and what it was. The
// tombstones of a recorder are numbered from 1 and each carries the hash of the
// one before, so that none can be taken away or changed between two others.
type Tombstone struct {
	Seq       uint64   // of the recorder's tombstones, from 1
	Prev      Hash     // SHA-256 of the tombstone before, zero for the first
	Session   [16]byte // ULID
	Gateway   string   // that ran the session
	Epoch     [16]byte // ULID of its run
	Number    uint64   // of the session in the epoch; 0 where the opening was lost
	Events    uint64
	Head      Hash   // the chain hash after the last event
	Target    string // whose retention it was
	Started   int64  // Unix time in nanoseconds, as Ended and Deleted
	Ended     int64
	Deleted   int64
	Reason    string // "retention: 2160h0m0s"
	KeyID     [16]byte
	Signature []byte // Ed25519 over TombstoneFormat, a zero byte, and the body without its signature
}

// Encode appends the file's content.
func (t Tombstone) Encode(dst []byte) []byte {
	b := newBody(dst)
	b.uint(1, t.Seq)
	b.bytes(2, t.Prev[:])
	b.bytes(3, t.Session[:])
	b.text(4, t.Gateway)
	b.bytes(5, t.Epoch[:])
	b.uint(6, t.Number)
	b.uint(7, t.Events)
	b.bytes(8, t.Head[:])
	b.text(9, t.Target)
	b.int(10, t.Started)
	b.int(11, t.Ended)
	b.int(12, t.Deleted)
	b.text(13, t.Reason)
	b.bytes(14, t.KeyID[:])
	b.bytes(15, t.Signature)
	return b.done()
}

// DecodeTombstone reads a tombstone's file.
func DecodeTombstone(p []byte) (Tombstone, error) {
	var w struct {
		Seq       uint64   `cbor:"1,keyasint"`
		Prev      Hash     `cbor:"2,keyasint"`
		Session   [16]byte `cbor:"3,keyasint"`
		Gateway   string   `cbor:"4,keyasint"`
		Epoch     [16]byte `cbor:"5,keyasint"`
		Number    uint64   `cbor:"6,keyasint"`
		Events    uint64   `cbor:"7,keyasint"`
		Head      Hash     `cbor:"8,keyasint"`
		Target    string   `cbor:"9,keyasint"`
		Started   int64    `cbor:"10,keyasint"`
		Ended     int64    `cbor:"11,keyasint"`
		Deleted   int64    `cbor:"12,keyasint"`
		Reason    string   `cbor:"13,keyasint"`
		KeyID     [16]byte `cbor:"14,keyasint"`
		Signature []byte   `cbor:"15,keyasint"`
	}
	if err := decoding.Unmarshal(p, &w); err != nil {
		return Tombstone{}, fmt.Errorf("tombstone: %w", err)
	}
	return Tombstone(w), nil
}

func (t Tombstone) signed() []byte {
	t.Signature = nil
	return t.Encode([]byte(TombstoneFormat + "\x00"))
}

func (t *Tombstone) sign(key ed25519.PrivateKey) {
	t.KeyID = KeyID(key.Public().(ed25519.PublicKey))
	t.Signature = ed25519.Sign(key, t.signed())
}

// Check verifies the signature; a nil key checks nothing.
func (t Tombstone) Check(key ed25519.PublicKey) error {
	switch {
	case key == nil:
		return nil
	case t.KeyID != KeyID(key):
		return fmt.Errorf("signed with key %x, not with %x", t.KeyID, KeyID(key))
	case !ed25519.Verify(key, t.signed(), t.Signature):
		return errors.New("the signature is wrong")
	}
	return nil
}

// tombstoneKey names a tombstone's object. Recorders have a chain each, and
// months a folder each, so that the last one is found without a long list.
func tombstoneKey(recorder string, t Tombstone) string {
	month := ulid.Time(uint64(t.Deleted / 1e6)).UTC().Format("2006-01")
	return fmt.Sprintf("%s%s/%s/%012d-%s", tombstonesDir, recorder, month, t.Seq, ulid.ULID(t.Session))
}

// chainEnd is the last tombstone of a recorder. The zero value begins a chain.
type chainEnd struct {
	Tombstone
	sum Hash // of its file
}

// lastTombstone finds where a recorder's chain goes on.
func lastTombstone(ctx context.Context, bucket *blob.Bucket, recorder string) (end chainEnd, err error) {
	prefix := tombstonesDir + recorder + "/"
	for range 2 { // the months, then the last month's tombstones
		last := ""
		err := eachObject(ctx, bucket, &blob.ListOptions{Prefix: prefix, Delimiter: "/"}, func(o *blob.ListObject) error {
			last = o.Key
			return nil
		})
		if err != nil || last == "" {
			return end, err
		}
		prefix = last
	}
	raw, err := bucket.ReadAll(ctx, prefix)
	if err != nil {
		return end, fmt.Errorf("tombstones: %w", err)
	}
	t, err := DecodeTombstone(raw)
	if err != nil {
		return end, fmt.Errorf("%s: %w", prefix, err)
	}
	return chainEnd{Tombstone: t, sum: sha256.Sum256(raw)}, nil
}

// eachTombstone calls fn for every tombstone, those of a recorder in order.
func eachTombstone(ctx context.Context, bucket *blob.Bucket, fn func(key, recorder string, raw []byte) error) error {
	return eachObject(ctx, bucket, &blob.ListOptions{Prefix: tombstonesDir}, func(o *blob.ListObject) error {
		raw, err := bucket.ReadAll(ctx, o.Key)
		if err != nil {
			return fmt.Errorf("tombstones: %w", err)
		}
		return fn(o.Key, path.Dir(path.Dir(strings.TrimPrefix(o.Key, tombstonesDir))), raw)
	})
}
