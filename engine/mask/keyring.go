package mask

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"hash"
	"sync"
)

// MinKey is the shortest key of a keyring, in bytes: as long as the digest, so
// that guessing the key is no easier than guessing a token.
const MinKey = 32

// tagBytes is how much of an HMAC is shown: 130 bits, 26 characters of base32.
// At 2^40 distinct values the chance that any two share a tag is below 2^-50.
const tagBytes = 17

// tagChars is the length of a tag as text.
const tagChars = 26

var tagEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Keyring masks values. It is immutable and safe for concurrent use.
type Keyring struct {
	hash  macPool
	token macPool
}

// NewKeyring makes a keyring of a secret key of at least MinKey bytes. Equal
// keys give equal hashes and tokens, in every process; a new key changes all
// of them.
func NewKeyring(key []byte) (*Keyring, error) {
	if len(key) < MinKey {
		return nil, errors.New("mask: the key is shorter than 32 bytes")
	}
	k := &Keyring{}
	k.hash.init(derive(key, "regate mask v1 hash"))
	k.token.init(derive(key, "regate mask v1 token"))
	return k, nil
}

// derive makes a key of its own for each purpose, so that a hash never equals
// a token and a compromise of neither follows from the other.
func derive(key []byte, purpose string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(purpose))
	return h.Sum(nil)
}

// macPool keeps HMAC states that have absorbed the key already.
type macPool struct {
	pool sync.Pool
}

type mac struct {
	hash.Hash
	buf [sha256.Size + 64]byte
}

func (p *macPool) init(key []byte) {
	key = bytes.Clone(key)
	p.pool.New = func() any { return &mac{Hash: hmac.New(sha256.New, key)} }
}

// tag appends prefix and the tag of value within a domain to dst. The domain
// is written with its length, so that no two (domain, value) pairs give one
// message.
func (p *macPool) tag(dst []byte, prefix, domain, sub string, value []byte) []byte {
	m := p.pool.Get().(*mac)
	m.Reset()
	buf := binary.BigEndian.AppendUint32(m.buf[:0], uint32(len(domain)+len(sub)))
	buf = append(buf, domain...)
	buf = append(buf, sub...)
	m.Write(buf)
	m.Write(value)
	sum := m.Sum(m.buf[:0])
	dst = append(dst, prefix...)
	n := len(dst)
	dst = tagEncoding.AppendEncode(dst, sum[:tagBytes])
	p.pool.Put(m)
	return dst[:n+tagChars]
}
