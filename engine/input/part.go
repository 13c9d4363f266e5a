package input

import (
	"crypto/sha256"
	"encoding/hex"
	"sync"
)

// Digest is a SHA-256.
type Digest [sha256.Size]byte

// String returns the digest as "sha256:" and 64 hex digits.
func (d Digest) String() string { return "sha256:" + hex.EncodeToString(d[:]) }

// Part is one immutable value of an input document. The value must not be
// changed after NewPart, and must marshal to JSON. A nil *Part is JSON null.
type Part struct {
	value any

	once   sync.Once
	json   []byte
	digest Digest

	memoOnce sync.Once
	memo     any
}

// NewPart wraps v. A nil v gives a part whose JSON is null.
func NewPart(v any) *Part { return &Part{value: v} }

var nullPart = NewPart(nil)

func (p *Part) orNull() *Part {
	if p == nil {
		return nullPart
	}
	return p
}

var emptyList = NewPart([]string{})

func (p *Part) orEmpty() *Part {
	if p == nil {
		return emptyList
	}
	return p
}

// Value returns the wrapped value, nil for a nil part.
func (p *Part) Value() any { return p.orNull().value }

func (p *Part) load() {
	p.once.Do(func() {
		raw := canonical(p.value)
		p.json = raw
		p.digest = sha256.Sum256(raw)
	})
}

// JSON returns the value in RFC 8785 canonical form. The caller must not
// change it. It panics when the value does not marshal.
func (p *Part) JSON() []byte {
	p = p.orNull()
	p.load()
	return p.json
}

// Digest returns the SHA-256 of JSON. It panics when the value does not
// marshal.
func (p *Part) Digest() Digest {
	p = p.orNull()
	p.load()
	return p.digest
}

// MarshalJSON implements json.Marshaler.
func (p *Part) MarshalJSON() ([]byte, error) {
	return p.JSON(), nil
}

// Memo returns what build made of the part's canonical JSON, built at most
// once. It belongs to the one evaluator of the process: the first caller
// decides what is kept.
func (p *Part) Memo(build func(canonical []byte) any) any {
	p = p.orNull()
	p.memoOnce.Do(func() { p.memo = build(p.JSON()) })
	return p.memo
}
