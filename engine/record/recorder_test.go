package record

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func TestTwoRecordersArriveAtTheSameFiles(t *testing.T) {
	dir := t.TempDir()
	st := openState(t, filepath.Join(dir, "state"))
	j := openJournal(t, st, nil)
	shared := openBucket(t, filepath.Join(dir, "archive"))
	own := openBucket(t, filepath.Join(dir, "archive2"))
	indexA, indexB := openTestIndex(t, filepath.Join(dir, "a.db")), openTestIndex(t, filepath.Join(dir, "b.db"))
	a := openRecorder(t, st, shared, indexA, "a", filepath.Join(dir, "spool-a"))
	b := openRecorder(t, st, shared, indexB, "b", filepath.Join(dir, "spool-b"))
	c := openRecorder(t, st, own, openTestIndex(t, filepath.Join(dir, "c.db")), "c", filepath.Join(dir, "spool-c"))
	for n := range 50 {
		w, _ := j.Begin(Header{Protocol: "postgres", Target: "shop", Subject: fmt.Sprint("s", n%5)})
		for turn := range n {
			sampleTurn(w, uint64(turn+1), "allow", "SELECT 1")
		}
		if n%7 != 0 {
			must(t, w.Close("done"))
		} else {
			// What is not acknowledged when the next run begins is late.
			must(t, w.Append(KindNote, Note{Code: "test"}.Encode(nil)))
		}
	}
	openJournal(t, st, nil) // the next run: the sessions left open are closed
	for _, r := range []*Recorder{a, b, c} {
		flush(t, r)
	}
	files := 0
	err := filepath.WalkDir(filepath.Join(dir, "archive"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		one, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		two, err := os.ReadFile(strings.Replace(path, "archive", "archive2", 1))
		if err != nil {
			return err
		}
		if !bytes.Equal(one, two) {
			t.Errorf("%s differs", path)
		}
		return nil
	})
	if err != nil || files != 50 {
		t.Errorf("%d files, %v", files, err)
	}
	report, err := Verify(t.Context(), VerifyOptions{Bucket: shared, Key: testPublic})
	if err != nil {
		t.Fatal(err)
	}
	wantOK(t, report)
	for _, x := range []*Index{indexA, indexB} {
		rows, err := x.Sessions(t.Context(), SessionFilter{State: StateArchived, Limit: 100})
		if err != nil || len(rows) != 50 {
			t.Errorf("%d sessions, %v", len(rows), err)
		}
	}
}

func TestRecorderIsAlone(t *testing.T) {
	dir := t.TempDir()
	r := newStreamRig(t, dir, nil)
	opts := RecorderOptions{
		JetStream: r.state.JetStream(), Dir: filepath.Join(dir, "spool"), Bucket: r.bucket, Index: r.index, Key: testKey,
	}
	if _, err := OpenRecorder(t.Context(), opts); !errors.Is(err, ErrLocked) {
		t.Errorf("the same spool: %v", err)
	}
	opts.Dir = filepath.Join(dir, "other")
	if _, err := OpenRecorder(t.Context(), opts); err == nil || !strings.Contains(err.Error(), "another spool") {
		t.Errorf("the same name with another spool: %v", err)
	}
	closeRecorder(t, r.recorder)
	opts.Takeover = true
	taken, err := OpenRecorder(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	closeRecorder(t, taken)
}

// TestDeliveredAgain: a recorder that lost its place takes everything again
// and changes nothing.
func TestDeliveredAgain(t *testing.T) {
	dir := t.TempDir()
	r := newStreamRig(t, dir, nil)
	closed, _ := r.journal.Begin(Header{Protocol: "postgres", Subject: "alice"})
	sampleTurn(closed, 1, "deny", "DROP")
	must(t, closed.Close("done"))
	live, _ := r.journal.Begin(Header{Protocol: "postgres", Subject: "bob"})
	must(t, sampleTurn(live, 1, "allow", "SELECT 1"))
	flush(t, r.recorder)
	before, err := r.index.Sessions(t.Context(), SessionFilter{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		closeRecorder(t, r.recorder)
		if err := r.state.JetStream().DeleteConsumer(t.Context(), StreamName, consumerPrefix+"main"); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			t.Fatal(err)
		}
		r.restartRecorder()
		flush(t, r.recorder)
	}
	after, err := r.index.Sessions(t.Context(), SessionFilter{})
	if err != nil || fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("before %+v\nafter  %+v, %v", before, after, err)
	}
	must(t, live.Close("done"))
	flush(t, r.recorder)
	wantOK(t, r.verify(t))
}

// TestSpoolThatEndsInsideAnEvent: a process that is killed as it writes leaves
// half an event, which comes again from the journal.
func TestSpoolThatEndsInsideAnEvent(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, dir, nil)
	w, _ := r.journal.Begin(Header{Protocol: "postgres", Subject: "alice"})
	must(t, sampleTurn(w, 1, "allow", "SELECT 1"))
	flush(t, r.recorder)
	closeRecorder(t, r.recorder)
	files, err := listSpool(filepath.Join(dir, "spool"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	whole, err := os.ReadFile(files[0].path)
	if err != nil {
		t.Fatal(err)
	}
	known := w.Events()
	must(t, sampleTurn(w, 2, "allow", "SELECT 2"))
	var next []byte
	for _, e := range r.events(t) {
		if e.Session == w.ID() && e.Seq > known {
			next = e.Encode(next)
		}
	}
	for written := range next {
		if err := os.WriteFile(files[0].path, append(bytes.Clone(whole), next[:written]...), 0o600); err != nil {
			t.Fatal(err)
		}
		if written%7 == 0 {
			wantOK(t, r.verify(t))
		}
	}
	r.restartRecorder()
	must(t, w.Close("done"))
	flush(t, r.recorder)
	wantOK(t, r.verify(t))
	if s, err := r.index.Session(t.Context(), w.ID().String()); err != nil || s.Events != w.Events() || s.State != StateArchived {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestStoreThatFails: while the archive cannot be written, sessions wait in
// the spool and nothing is lost.
func TestStoreThatFails(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, dir, nil)
	blocked := filepath.Join(dir, "archive", "sessions")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil { // where a folder should be
		t.Fatal(err)
	}
	w, _ := r.journal.Begin(Header{Protocol: "postgres", Subject: "alice"})
	must(t, sampleTurn(w, 1, "allow", "SELECT 1"))
	must(t, w.Close("done"))
	eventually(t, "failure", func() bool { return r.recorder.Healthy() != nil })
	if s, err := r.index.Session(t.Context(), w.ID().String()); err != nil || s.State != StateClosed {
		t.Errorf("%+v, %v", s, err)
	}
	wantOK(t, r.verify(t))
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	flush(t, r.recorder)
	wantOK(t, r.verify(t))
	eventually(t, "health", func() bool { return r.recorder.Healthy() == nil })
}

// TestDamagedFrameIsKeptAside: what is no frame does not stop the others.
func TestDamagedFrameIsKeptAside(t *testing.T) {
	dir := t.TempDir()
	r := newStreamRig(t, dir, nil)
	if _, err := r.state.JetStream().Publish(t.Context(), subjectPrefix+"test", []byte("not a frame")); err != nil {
		t.Fatal(err)
	}
	w, _ := r.journal.Begin(Header{Protocol: "postgres", Subject: "alice"})
	must(t, w.Close("done"))
	flush(t, r.recorder)
	if kept, err := os.ReadDir(filepath.Join(dir, "spool", "damaged")); err != nil || len(kept) != 1 {
		t.Errorf("%v, %v", kept, err)
	}
	if report := r.verify(t); report.OK || !strings.Contains(report.Problems[0].Text, "damaged") {
		t.Errorf("%+v", report.Problems)
	}
}

// TestJournalIsEmptied: what every recorder has is removed from the journal,
// and not a frame more.
func TestJournalIsEmptied(t *testing.T) {
	dir := t.TempDir()
	r := newStreamRig(t, dir, nil)
	w, _ := r.journal.Begin(Header{Protocol: "postgres", Subject: "alice"})
	eventually(t, "purge", func() bool {
		must(t, sampleTurn(w, 1, "allow", "SELECT 1"))
		flush(t, r.recorder)
		time.Sleep(50 * time.Millisecond)
		stream, err := r.state.JetStream().Stream(t.Context(), StreamName)
		if err != nil {
			t.Fatal(err)
		}
		return stream.CachedInfo().State.FirstSeq > 1
	})
	must(t, w.Close("done"))
	flush(t, r.recorder)
	wantOK(t, r.verify(t))
}

// TestLongSessionNeedsLittleMemory streams one session of 500 MB through
// journal, spool and archive, and verifies it.
func TestLongSessionNeedsLittleMemory(t *testing.T) {
	const total, limit = 500 << 20, 384 << 20
	// The server's caches of what it has just stored may be collected: they are
	// not what is measured.
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(192 << 20))
	dir := t.TempDir()
	r := newRig(t, dir, func(o *JournalOptions) { o.MaxBytes = 2 << 30 })
	var peak atomic.Uint64
	stop := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapInuse))
		}
	}()
	w, _ := r.journal.Begin(Header{Protocol: "postgres", Subject: "alice"})
	data := make([]byte, 200<<10)
	var ack *Ack
	for sent := 0; sent < total; sent += len(data) {
		for i := range data[:4096] {
			data[i] = byte(sent>>8 + i*i)
		}
		ack = w.Append(KindChunk, Chunk{Turn: 1, Format: "test/bytes", Data: data}.Encode(nil))
	}
	must(t, ack)
	must(t, w.Close("done"))
	flush(t, r.recorder)
	wantOK(t, r.verify(t))
	close(stop)
	<-watched
	t.Logf("peak heap %d MiB", peak.Load()>>20)
	if peak.Load() > limit {
		t.Errorf("peak heap %d MiB, more than %d", peak.Load()>>20, limit>>20)
	}
}
