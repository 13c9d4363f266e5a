package record

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// eventually waits for something that another goroutine does.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: ", what)
		}
	}
}

// readAllEvents reads the journal's events of every session.
func readAllEvents(t *testing.T, js jetstream.JetStream) []Event {
	t.Helper()
	return allEvents(t, VerifyOptions{Journal: js})
}

func allEvents(t *testing.T, opts VerifyOptions) []Event {
	t.Helper()
	var events []Event
	v := &verifier{opts: opts}
	err := v.journal(t.Context(), func(_ uint64, f Frame) {
		if err := f.Each(func(e Event, _ []byte) error { events = append(events, e); return nil }); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func verifyJournal(t *testing.T, js jetstream.JetStream) *Report {
	t.Helper()
	report, err := Verify(t.Context(), VerifyOptions{Journal: js, Key: testPublic})
	if err != nil {
		t.Fatal(err)
	}
	wantOK(t, report)
	return report
}

func TestFullJournalRefusesAndClosesValidly(t *testing.T) {
	st := openState(t, t.TempDir())
	j := openJournal(t, st, func(o *JournalOptions) { o.MaxBytes = 4 << 20; o.Reserve = 1 << 20 })
	first, _ := j.Begin(Header{Protocol: "test"})
	second, _ := j.Begin(Header{Protocol: "test"})
	chunk := Chunk{Turn: 1, Format: "test", Data: make([]byte, 100<<10)}.Encode(nil)
	var err error
	for n := 0; err == nil; n++ {
		if n > 100 {
			t.Fatal("never full")
		}
		err = first.Append(KindChunk, chunk).Wait(t.Context())
	}
	if !errors.Is(err, ErrFull) || !errors.Is(j.Healthy(), ErrFull) {
		t.Fatalf("append: %v, healthy: %v", err, j.Healthy())
	}
	// Everything but Close is refused at once, and uses nothing of the reserve.
	for range 1000 {
		if err := second.Append(KindNote, nil).Wait(t.Context()); !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
	}
	if w, ack := j.Begin(Header{Protocol: "test"}); !errors.Is(ack.Wait(t.Context()), ErrFull) || w == nil {
		t.Fatal("a session was opened")
	}
	must(t, first.Close("full"))
	if got := second.Events(); got != 1 {
		t.Errorf("%d events", got)
	}

	// The recorder, or an operator, makes room.
	stream, err := st.JetStream().Stream(t.Context(), StreamName)
	if err != nil {
		t.Fatal(err)
	}
	verifyJournal(t, st.JetStream())
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSequence(stream.CachedInfo().State.LastSeq/2)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "room", func() bool { return j.Healthy() == nil })
	must(t, second.Append(KindNote, nil))
	must(t, second.Close("done"))
	var loss []Loss
	for _, e := range readAllEvents(t, st.JetStream()) {
		if e.Kind == KindLoss {
			l, err := DecodeLoss(e.Body)
			if err != nil {
				t.Fatal(err)
			}
			loss = append(loss, l)
		}
	}
	if len(loss) != 2 || loss[0].Refused != 1 || loss[1].Refused != 1000 || !strings.Contains(loss[1].Reason, "full") {
		t.Errorf("losses %+v", loss)
	}
}

func TestLowDiskRefusesBeforeItIsFull(t *testing.T) {
	st := openState(t, t.TempDir())
	var free atomic.Int64
	free.Store(1 << 40)
	j := openJournal(t, st, func(o *JournalOptions) {
		o.Reserve = 1 << 20
		o.FreeBytes = func() (int64, error) { return free.Load(), nil }
	})
	w, ack := j.Begin(Header{Protocol: "test"})
	must(t, ack)
	free.Store(1 << 10)
	chunk := make([]byte, 64<<10)
	var err error
	for n := 0; err == nil; n++ {
		if n > 100 {
			t.Fatal("the disk is never looked at")
		}
		err = w.Append(KindChunk, chunk).Wait(t.Context())
	}
	if !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	must(t, w.Close("disk full"))
	free.Store(1 << 40)
	eventually(t, "room", func() bool { return j.Healthy() == nil })
}

func TestCloseWaitsForAJournalThatIsDown(t *testing.T) {
	srv := startNATS(t, filepath.Join(t.TempDir(), "nats"))
	_, js := srv.connect(t)
	j, err := OpenJournal(t.Context(), JournalOptions{JetStream: js, Gateway: "test", Key: testKey, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer closeJournal(t, j)
	w, ack := j.Begin(Header{Protocol: "test"})
	must(t, ack)
	idle, ack := j.Begin(Header{Protocol: "test"})
	must(t, ack)
	srv.stop()
	if err := w.Append(KindNote, Note{Code: "lost"}.Encode(nil)).Wait(t.Context()); !errors.Is(err, ErrDown) {
		t.Fatalf("append: %v", err)
	}
	if err := j.Healthy(); !errors.Is(err, ErrDown) {
		t.Fatalf("healthy: %v", err)
	}
	if err := w.Append(KindNote, nil).Wait(t.Context()); !errors.Is(err, ErrDown) {
		t.Fatalf("append: %v", err)
	}
	closed := w.Close("done")
	if done, _ := closed.Ready(); done {
		t.Fatal("closed while the journal is down")
	}
	srv.start()
	must(t, closed)
	eventually(t, "health", func() bool { return j.Healthy() == nil })
	must(t, idle.Append(KindNote, nil))
	report := verifyJournal(t, js)
	for _, s := range report.Sessions {
		if s.ID == w.ID().String() && (s.State != "closed" || s.Lost == 0 && s.Events != 4) {
			t.Errorf("session %+v", s)
		}
		if s.ID == idle.ID().String() && s.Events != 2 {
			t.Errorf("idle session %+v", s)
		}
	}
}

// TestCloseThatWasStoredAfterAll: a receipt whose acknowledgement was lost is
// found in the journal, and who waits for the Close is told.
func TestCloseThatWasStoredAfterAll(t *testing.T) {
	j := openJournal(t, openState(t, t.TempDir()), nil)
	w, ack := j.Begin(Header{Protocol: "test"})
	must(t, ack)
	w.mu.Lock()
	w.closed, w.closing, w.receipt = true, newAck(), failedAck(ErrDown)
	waiting := w.closing
	w.mu.Unlock()
	j.settled(&frame{events: []frameEvent{{w: w, seq: 2, last: true}}})
	must(t, waiting)
	if len(j.writers()) != 0 {
		t.Error("the session is still known")
	}
}

// TestRequestIsRefusedWithItsPart: an index handed out for a part that was
// then lost must not be referred to.
func TestRequestIsRefusedWithItsPart(t *testing.T) {
	srv := startNATS(t, filepath.Join(t.TempDir(), "nats"))
	_, js := srv.connect(t)
	j, err := OpenJournal(t.Context(), JournalOptions{JetStream: js, Gateway: "test", Key: testKey, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer closeJournal(t, j)
	w, ack := j.Begin(Header{Protocol: "test"})
	must(t, ack)
	srv.stop()
	w.Intern(Hash{1}, []byte(`{}`))
	eventually(t, "failure", func() bool { return j.Healthy() != nil })
	srv.start()
	eventually(t, "health", func() bool { return j.Healthy() == nil })
	if err := w.Append(KindRequest, Request{Turn: 1}.Encode(nil)).Wait(t.Context()); !errors.Is(err, ErrDown) {
		t.Fatalf("a request that refers to a lost part: %v", err)
	}
	w.Intern(Hash{1}, []byte(`{}`))
	must(t, w.Append(KindRequest, Request{Turn: 2}.Encode(nil)))
	parts := 0
	for _, e := range readAllEvents(t, js) {
		if e.Kind == KindPart {
			parts++
		}
	}
	if parts != 1 {
		t.Errorf("%d parts", parts)
	}
	must(t, w.Close("done"))
	verifyJournal(t, js)
}

func TestLimitsOfAnEvent(t *testing.T) {
	st := openState(t, t.TempDir())
	j := openJournal(t, st, nil)
	w, ack := j.Begin(Header{Protocol: "test"})
	must(t, ack)
	if err := w.Append(KindChunk, make([]byte, MaxBody+1)).Wait(t.Context()); !errors.Is(err, ErrTooLong) {
		t.Errorf("too long: %v", err)
	}
	must(t, w.Append(KindChunk, make([]byte, MaxBody)))
	must(t, w.Append(KindNote, nil))
	if err := w.Append(KindNote, nil).Wait(canceled()); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	must(t, w.Close("done"))
	if err := w.Append(KindNote, nil).Wait(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("after close: %v", err)
	}
	if err := w.Close("again").Wait(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("second close: %v", err)
	}
	if _, ack := j.Begin(Header{ID: "no ULID"}); ack.Wait(t.Context()) == nil {
		t.Error("a session with a bad id")
	}
	verifyJournal(t, st.JetStream())
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// TestAppendsShareFrames: writers that wait at the same time share a publish,
// and the events of each keep their order.
func TestAppendsShareFrames(t *testing.T) {
	st := openState(t, t.TempDir())
	j := openJournal(t, st, nil)
	var wg sync.WaitGroup
	for range 16 {
		w, ack := j.Begin(Header{Protocol: "test"})
		must(t, ack)
		wg.Go(func() {
			for n := range 200 {
				if err := w.Append(KindNote, Note{Turn: uint64(n)}.Encode(nil)).Wait(t.Context()); err != nil {
					t.Error(err)
					return
				}
			}
			if err := w.Close("done").Wait(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	report := verifyJournal(t, st.JetStream())
	if report.Events != 16*202 || report.Frames*2 > report.Events {
		t.Errorf("%d events in %d frames", report.Events, report.Frames)
	}
}

func TestInternIsBounded(t *testing.T) {
	st := openState(t, t.TempDir())
	j := openJournal(t, st, nil)
	w, ack := j.Begin(Header{Protocol: "test"})
	must(t, ack)
	first := w.Intern(Hash{}, []byte("0"))
	if again := w.Intern(Hash{}, []byte("0")); again != first {
		t.Errorf("%d, then %d", first, again)
	}
	for n := range 3 * maxParts {
		raw := fmt.Append(nil, n+1)
		if got, want := w.Intern(hashOf(raw), raw), uint32(n+2); got != want {
			t.Fatalf("index %d, want %d", got, want)
		}
	}
	if len(w.parts) > maxParts {
		t.Errorf("%d parts are kept", len(w.parts))
	}
}

func TestAppendAllocates(t *testing.T) {
	st := openState(t, t.TempDir())
	j := openJournal(t, st, nil)
	w, ack := j.Begin(Header{Protocol: "test"})
	must(t, ack)
	body := make([]byte, 400)
	// A frame's own few allocations are shared by its events.
	if n := testing.AllocsPerRun(20000, func() { w.Append(KindNote, body) }); n > 1 {
		t.Errorf("%v allocations an event", n)
	}
}
