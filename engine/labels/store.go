package labels

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	keptFor     = 24 * time.Hour
	renewAfter  = time.Hour // a label that is said again is written again only then
	maxLabels   = 256       // of one entry
	maxAttempts = 20        // of one write, when others are quicker
	within      = 3 * time.Second
)

// Bucket describes the bucket that Open takes.
func Bucket(replicas int) jetstream.KeyValueConfig {
	return jetstream.KeyValueConfig{
		Bucket: "regate_labels", Description: "regate: labels that policies have put on tasks and agents", History: 1, TTL: keptFor + renewAfter, Replicas: replicas,
	}
}

// Who is whose labels are meant. The strings are digested, never kept.
type Who struct {
	Issuer, Subject    string
	ActorIssuer, Actor string // "" when nobody acts for the subject
	Task               string // as the agent says; "" for the labels of the agent itself
}

func (w Who) key() string {
	h := sha256.New()
	for _, p := range []string{w.Issuer, w.Subject, w.ActorIssuer, w.Actor, w.Task} {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:20])
}

// Store reads and writes labels. Its methods may be called from many goroutines.
type Store struct {
	kv    jetstream.KeyValue
	clock func() time.Time
}

// Open returns a store; clock may be nil.
func Open(kv jetstream.KeyValue, clock func() time.Time) *Store {
	if clock == nil {
		clock = time.Now
	}
	return &Store{kv: kv, clock: clock}
}

// Get returns the labels of a task and of its agent, sorted.
func (s *Store) Get(ctx context.Context, who Who) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	list, _, err := s.read(ctx, who.key())
	if err != nil || who.Task == "" {
		return list, err
	}
	who.Task = ""
	agent, _, err := s.read(ctx, who.key())
	if err != nil {
		return nil, err
	}
	list = append(list, agent...)
	slices.Sort(list)
	return slices.Compact(list), nil
}

// Add puts labels on a task, or with an empty task on the agent. It returns when
// every later Get has them.
func (s *Store) Add(ctx context.Context, who Who, add []string) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	key := who.key()
	for range maxAttempts {
		had, at, err := s.read(ctx, key)
		if err != nil {
			return err
		}
		list := append(slices.Clone(had), add...)
		slices.Sort(list)
		list = slices.Compact(list)
		if len(list) == len(had) && s.clock().Sub(at.written) < renewAfter {
			return nil
		}
		if len(list) > maxLabels {
			return fmt.Errorf("labels: more than %d on one task", maxLabels)
		}
		raw, err := json.Marshal(list)
		if err != nil {
			return fmt.Errorf("labels: %w", err)
		}
		if at.revision == 0 {
			_, err = s.kv.Create(ctx, key, raw)
		} else {
			_, err = s.kv.Update(ctx, key, raw, at.revision)
		}
		if err == nil {
			return nil
		}
		if !errors.Is(err, jetstream.ErrKeyExists) && !errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			return fmt.Errorf("labels: %w", err)
		}
	}
	return errors.New("labels: others were quicker each time")
}

// version is which write of an entry was read; zero where there is none.
type version struct {
	revision uint64
	written  time.Time
}

func (s *Store) read(ctx context.Context, key string) ([]string, version, error) {
	entry, err := s.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, version{}, nil
	}
	if err != nil {
		return nil, version{}, fmt.Errorf("labels: %w", err)
	}
	var list []string
	if err := json.Unmarshal(entry.Value(), &list); err != nil {
		return nil, version{}, fmt.Errorf("labels: an entry cannot be read: %w", err)
	}
	return list, version{entry.Revision(), entry.Created()}, nil
}
