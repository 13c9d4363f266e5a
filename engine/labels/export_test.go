package labels

import (
	"context"
	"time"
)

// Written is when an entry was last written.
func (s *Store) Written(ctx context.Context, who Who) (time.Time, error) {
	_, at, err := s.read(ctx, who.key())
	return at.written, err
}
