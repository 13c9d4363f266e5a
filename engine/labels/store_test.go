package labels_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/regate-dev/regate/engine/labels"
	"github.com/regate-dev/regate/engine/state"
)

func open(t testing.TB, clock func() time.Time) (*labels.Store, func()) {
	t.Helper()
	st, err := state.Open(t.Context(), state.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	closed := sync.OnceFunc(func() { _ = st.Close(context.Background()) })
	t.Cleanup(closed)
	kv, err := st.KV(t.Context(), labels.Bucket(1))
	if err != nil {
		t.Fatal(err)
	}
	return labels.Open(kv, clock), closed
}

func TestLabels(t *testing.T) {
	s, closed := open(t, nil)
	ctx := t.Context()
	task := labels.Who{Issuer: "https://a", Subject: "alice", ActorIssuer: "https://b", Actor: "bot", Task: "T-1"}
	agent := task
	agent.Task = ""
	is := func(who labels.Who, want ...string) {
		t.Helper()
		got, err := s.Get(ctx, who)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%+v: %v %v, want %v", who, got, err, want)
		}
	}
	add := func(who labels.Who, list ...string) {
		t.Helper()
		if err := s.Add(ctx, who, list); err != nil {
			t.Error(err)
		}
	}
	is(task)
	add(task, "b", "a")
	add(task, "a")
	is(task, "a", "b")
	is(agent)
	add(agent, "everywhere", "a")
	is(task, "a", "b", "everywhere")
	is(agent, "a", "everywhere")
	// Nobody else's, however the names are cut.
	for _, change := range []func(*labels.Who){
		func(w *labels.Who) { w.Issuer, w.Subject = "https://aa", "lice" }, func(w *labels.Who) { w.Subject = "bob" },
		func(w *labels.Who) { w.Actor = "" }, func(w *labels.Who) { w.ActorIssuer = "https://c" },
	} {
		other := task
		change(&other)
		is(other)
	}
	other := task
	other.Task = "T-2"
	is(other, "a", "everywhere")

	// Who adds at the same time loses nothing.
	var all sync.WaitGroup
	var want []string
	for i := range 8 {
		name := fmt.Sprintf("n%d", i)
		want = append(want, name)
		all.Go(func() {
			if err := s.Add(ctx, labels.Who{Subject: "many", Task: "x"}, []string{name}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	is(labels.Who{Subject: "many", Task: "x"}, want...)

	var lots []string
	for i := range 257 {
		lots = append(lots, fmt.Sprint(i))
	}
	if err := s.Add(ctx, labels.Who{Subject: "lots"}, lots); err == nil {
		t.Error("more than there is room for was taken")
	}
	// What cannot be known is an error.
	closed()
	if _, err := s.Get(ctx, task); err == nil {
		t.Error("labels were read from nowhere")
	}
	if err := s.Add(ctx, task, []string{"c"}); err == nil {
		t.Error("labels were written nowhere")
	}
}

// A label that is said again is kept for a day from then.
func TestLabelsRenewed(t *testing.T) {
	ahead := time.Duration(0)
	s, _ := open(t, func() time.Time { return time.Now().Add(ahead) })
	who := labels.Who{Subject: "alice", Task: "T"}
	revision := func() time.Time {
		t.Helper()
		if err := s.Add(t.Context(), who, []string{"a"}); err != nil {
			t.Fatal(err)
		}
		at, err := s.Written(t.Context(), who)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	first := revision()
	if again := revision(); !again.Equal(first) {
		t.Error("written again at once")
	}
	ahead = 2 * time.Hour
	if again := revision(); again.Equal(first) {
		t.Error("not written again after two hours")
	}
}
