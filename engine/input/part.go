package input

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"sync/atomic"

	"github.com/go-json-experiment/json/jsontext"
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

	members atomic.Pointer[members]
}

// members are the digests of a part's members that were asked for.
type members struct {
	key    string
	digest Digest
	next   *members
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

// MemberDigest returns the SHA-256 of one member of the value, which is an
// object, in canonical form: that of nothing, which no JSON has, where there is
// no such member. It panics when the value does not marshal.
func (p *Part) MemberDigest(key string) Digest {
	p = p.orNull()
	known := p.members.Load()
	for m := known; m != nil; m = m.next {
		if m.key == key {
			return m.digest
		}
	}
	found := &members{key: key, digest: sha256.Sum256(member(p.JSON(), key)), next: known}
	// Where another was found meanwhile this one is looked for again.
	p.members.CompareAndSwap(known, found)
	return found.digest
}

// member returns the value of an object's member, nil where there is none.
func member(object []byte, key string) []byte {
	d := jsontext.NewDecoder(bytes.NewBuffer(object))
	if start, err := d.ReadToken(); err != nil || start.Kind() != '{' {
		return nil
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return nil
		}
		if name.String() != key {
			if d.SkipValue() != nil {
				return nil
			}
			continue
		}
		value, _ := d.ReadValue()
		return value
	}
	return nil
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
