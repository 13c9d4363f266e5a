package state

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// KV opens a key-value bucket, and makes it when there is none. Replicas and
// storage are the state's own; what else cfg says is brought up to date.
func (s *State) KV(ctx context.Context, cfg jetstream.KeyValueConfig) (jetstream.KeyValue, error) {
	cfg.Replicas = s.opts.Replicas
	cfg.Storage = jetstream.FileStorage
	kv, err := s.js.CreateOrUpdateKeyValue(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("bucket %q: %w", cfg.Bucket, err)
	}
	return kv, nil
}

// Stream opens a stream, makes it when there is none, and brings its
// configuration up to date. Replicas and storage are the state's own.
func (s *State) Stream(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	cfg.Replicas = s.opts.Replicas
	cfg.Storage = jetstream.FileStorage
	stream, err := s.js.CreateOrUpdateStream(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("stream %q: %w", cfg.Name, err)
	}
	return stream, nil
}

// DeleteKV removes a bucket. It is no error when there is none.
func (s *State) DeleteKV(ctx context.Context, bucket string) error {
	err := s.js.DeleteKeyValue(ctx, bucket)
	if err != nil && !errors.Is(err, jetstream.ErrBucketNotFound) {
		return fmt.Errorf("delete bucket %q: %w", bucket, err)
	}
	return nil
}
