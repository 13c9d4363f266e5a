package pin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"github.com/regate-dev/regate/engine/state"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func bucket(t *testing.T) jetstream.KeyValue {
	t.Helper()
	st, err := state.Open(t.Context(), state.Options{Dir: t.TempDir()})
	must(t, err)
	t.Cleanup(func() { _ = st.Close(context.Background()) })
	kv, err := st.KV(t.Context(), Bucket())
	must(t, err)
	return kv
}

func open(t *testing.T, kv jetstream.KeyValue) *Store {
	t.Helper()
	s, err := Open(t.Context(), kv, nil, logrus.New())
	must(t, err)
	t.Cleanup(s.Close)
	return s
}

func definition(text string) Definition {
	return Definition{Digest: "sha256:" + text, JSON: json.RawMessage(`{"description":"` + text + `","name":"read"}`)}
}

func (s *Store) is(t *testing.T, server, name string, want State) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		e, ok := s.Get(server, name)
		if ok && e.State() == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s/%s is %+v, want %s", server, name, e, want)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A tool is new, approved, changed, and approved again; two gateways see the
// same, and one that starts later does.
func TestStates(t *testing.T) {
	kv := bucket(t)
	one, two := open(t, kv), open(t, kv)
	ctx := t.Context()
	note := func(s *Store, name, text string, firstUse bool) *Entry {
		t.Helper()
		e, err := s.Note(ctx, "files", name, definition(text), firstUse)
		must(t, err)
		return e
	}
	note(one, "read", "reads", false)
	one.is(t, "files", "read", New)
	if _, err := two.Approve(ctx, "files", "read", "sha256:else", "bob", "id"); !errors.Is(err, ErrOther) {
		t.Errorf("another digest: %v", err)
	}
	if _, err := two.Approve(ctx, "files", "write", "sha256:reads", "bob", "id"); !errors.Is(err, ErrUnknown) {
		t.Errorf("a tool that nobody has seen: %v", err)
	}
	e, err := two.Approve(ctx, "files", "read", "sha256:reads", "bob", "id")
	must(t, err)
	if e.ApprovedBy != "bob" || e.ApprovedAt.IsZero() {
		t.Errorf("%+v", e)
	}
	one.is(t, "files", "read", Approved)
	note(two, "read", "reads, and sends", false)
	one.is(t, "files", "read", Changed)
	e, _ = one.Get("files", "read")
	if diff := e.Diff(); !strings.Contains(diff, "-  \"description\": \"reads\"") || !strings.Contains(diff, "+  \"description\": \"reads, and sends\"") {
		t.Errorf("diff:\n%s", diff)
	}
	// The same definition under another name is another tool.
	if e := note(one, "read2", "reads", false); e.State() != New {
		t.Errorf("renamed: %s", e.State())
	}
	// So is one of the same name at another server.
	if e, err := one.Note(ctx, "mail", "read", definition("reads"), false); err != nil || e.State() != New {
		t.Errorf("%v %v", e, err)
	}
	if e := note(one, "list", "lists", true); e.State() != Approved {
		t.Errorf("first use: %s", e.State())
	}
	if e := note(one, "list", "lists more", true); e.State() != Changed {
		t.Errorf("second use: %s", e.State())
	}
	three := open(t, kv) // as after a restart
	three.is(t, "files", "read", Changed)
	three.is(t, "files", "list", Changed)
	if _, err := three.Revoke(ctx, "files", "read"); err != nil {
		t.Error(err)
	}
	one.is(t, "files", "read", New)
	// What was taken back is not approved by its next use.
	if e := note(one, "read", "reads again", true); e.State() != New {
		t.Errorf("after a revocation: %s", e.State())
	}
	if n := len(one.List("files")); n != 3 {
		t.Errorf("%d tools", n)
	}
}

func TestBounds(t *testing.T) {
	s := open(t, bucket(t))
	large := Definition{Digest: "sha256:x", JSON: json.RawMessage(`"` + strings.Repeat("x", MaxDefinition) + `"`)}
	if _, err := s.Note(t.Context(), "files", "a", large, false); !errors.Is(err, ErrLarge) {
		t.Error(err)
	}
	s.mu.Lock()
	s.count["many"] = maxTools
	s.mu.Unlock()
	if _, err := s.Note(t.Context(), "many", "a", definition("a"), true); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
}

// Writers at once: none of their changes is lost.
func TestConcurrent(t *testing.T) {
	kv := bucket(t)
	one, two := open(t, kv), open(t, kv)
	done := make(chan error, 2)
	for _, s := range []*Store{one, two} {
		go func() {
			for i := range 20 {
				if _, err := s.Note(context.Background(), "files", "read", definition(fmt.Sprint(i)), false); err != nil {
					done <- err
					return
				}
				if _, err := s.Note(context.Background(), "files", fmt.Sprint("t", i), definition("x"), false); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 2 {
		must(t, <-done)
	}
	for _, s := range []*Store{one, two} {
		for i := range 20 {
			s.is(t, "files", fmt.Sprint("t", i), New)
		}
	}
}

// An entry that cannot be read approves nothing.
func TestUnreadable(t *testing.T) {
	kv := bucket(t)
	s := open(t, kv)
	_, err := s.Note(t.Context(), "files", "read", definition("reads"), true)
	must(t, err)
	_, err = kv.Put(t.Context(), keyOf("files", "read"), []byte(`{"server":"files","name":"other"`))
	must(t, err)
	deadline := time.Now().Add(20 * time.Second)
	for {
		if _, ok := s.Get("files", "read"); !ok {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it is still approved")
		}
		time.Sleep(5 * time.Millisecond)
	}
}
