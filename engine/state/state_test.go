package state

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, opts Options) *State {
	t.Helper()
	s, err := Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, s) })
	return s
}

func shut(t *testing.T, s *State) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
}

func TestStateOutlivesTheProcess(t *testing.T) {
	for _, sync := range []string{SyncInterval, SyncAlways} {
		t.Run(sync, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, Options{Dir: dir, Sync: sync})
			kv, err := s.KV(t.Context(), jetstream.KeyValueConfig{Bucket: "b"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := kv.Put(t.Context(), "k", []byte("v")); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Stream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
				t.Fatal(err)
			}
			shut(t, s)
			if err := s.Healthy(t.Context()); err == nil {
				t.Error("healthy after close")
			}

			s = open(t, Options{Dir: dir, Sync: sync})
			if err := s.Healthy(t.Context()); err != nil {
				t.Error(err)
			}
			if kv, err = s.KV(t.Context(), jetstream.KeyValueConfig{Bucket: "b", History: 3}); err != nil {
				t.Fatal(err)
			}
			if e, err := kv.Get(t.Context(), "k"); err != nil || string(e.Value()) != "v" {
				t.Errorf("%v, %v", e, err)
			}
			if _, err := s.Stream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s", "t"}}); err != nil {
				t.Error(err)
			}
			if free, err := s.FreeBytes(); err != nil || free <= 0 {
				t.Errorf("%d, %v", free, err)
			}
			if err := errors.Join(s.DeleteKV(t.Context(), "b"), s.DeleteKV(t.Context(), "b")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDirectoryIsLocked(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	if _, err := Open(t.Context(), Options{Dir: dir}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "pid") {
		t.Errorf("second open: %v", err)
	}
	shut(t, s)
	open(t, Options{Dir: dir})
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{
		{},
		{Dir: t.TempDir(), Replicas: 3},
		{Dir: t.TempDir(), Replicas: -1},
		{Dir: t.TempDir(), Sync: "never"},
		{Dir: t.TempDir(), MaxPayload: 1},
		{URL: "nats://127.0.0.1:1"},
	} {
		if s, err := Open(t.Context(), o); err == nil {
			t.Errorf("%+v opens", o)
			shut(t, s)
		}
	}
}
