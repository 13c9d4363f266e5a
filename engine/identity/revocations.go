package identity

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Revocations is a live local copy of the revocations in a bucket.
type Revocations struct{}

// OpenRevocations starts watching the bucket and returns once the present
// content is known. clock nil means time.Now.
func OpenRevocations(ctx context.Context, kv jetstream.KeyValue, clock func() time.Time) (*Revocations, error) {
	return &Revocations{}, nil
}

// Match returns the revocation that covers the identity at the target, or nil.
func (r *Revocations) Match(id *Identity, target string) *Revocation { return nil }

// Add writes a revocation.
func (r *Revocations) Add(ctx context.Context, rev Revocation) error { return nil }

// Remove takes a revocation back.
func (r *Revocations) Remove(ctx context.Context, key string) error { return nil }

// List returns the revocations in force, oldest first.
func (r *Revocations) List() []Revocation { return nil }

// Subscribe calls fn after any change, until cancel.
func (r *Revocations) Subscribe(fn func()) (cancel func()) { return func() {} }

// Healthy returns an error while the copy may be behind: deny then.
func (r *Revocations) Healthy() error { return nil }

// Close stops watching.
func (r *Revocations) Close() {}
