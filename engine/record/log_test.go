package record

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

// record returns a sealed record of n bytes of frame.
func sealed(n int, tag uint64) []byte {
	p := make([]byte, recordHead+n)
	for i := range n {
		p[recordHead+i] = byte(uint64(i)*7 + tag)
	}
	if n >= 8 {
		binary.BigEndian.PutUint64(p[recordHead:], tag)
	}
	sealRecord(p)
	return p
}

// TestLogInOrder: what is appended is read, once and in order, while segments
// begin and are removed and the log is opened anew.
func TestLogInOrder(t *testing.T) {
	dir := t.TempDir()
	const records = 5000
	open := func() *Log {
		l, err := OpenLog(dir, LogOptions{Segment: 64 << 10})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := open()
	feed, err := newLogFeed(l, "reader", "spool", false)
	if err != nil {
		t.Fatal(err)
	}
	next := uint64(0)
	take := func(m message) {
		if m.damaged || binary.BigEndian.Uint64(m.data) != next || !bytes.Equal(m.data, sealed(len(m.data), next)[recordHead:]) {
			t.Fatalf("record %d is %d bytes, damaged: %v", next, len(m.data), m.damaged)
		}
		next++
	}
	for n := uint64(0); n < records; n++ {
		var batch [][]byte
		for range 1 + rand.IntN(3) {
			batch = append(batch, sealed(8+rand.IntN(2000), n))
			n++
		}
		n--
		if err := l.append(batch...); err != nil {
			t.Fatal(err)
		}
		if rand.IntN(50) == 0 {
			read(t, feed, l.End(), take)
			if err := errors.Join(feed.acknowledge(t.Context(), feed.position()), feed.trim(t.Context(), 0)); err != nil {
				t.Fatal(err)
			}
		}
		if rand.IntN(500) == 0 {
			feed.close()
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = open()
			acknowledged := feed.position()
			if feed, err = newLogFeed(l, "reader", "spool", false); err != nil {
				t.Fatal(err)
			}
			if feed.position() > acknowledged {
				t.Fatal("it skips")
			}
			feed.reader.at = acknowledged // what it does not know is delivered again
		}
	}
	read(t, feed, l.End(), take)
	if err := errors.Join(feed.acknowledge(t.Context(), l.End()), feed.trim(t.Context(), 0)); err != nil {
		t.Fatal(err)
	}
	if bases, err := listSegments(dir); err != nil || len(bases) != 1 {
		t.Errorf("%d segments are left, %v", len(bases), err)
	}
	feed.close()
	_ = l.Close()
}

// read takes everything up to a position.
func read(t *testing.T, f *logFeed, to uint64, take func(message)) {
	t.Helper()
	for f.reader.at < to {
		data, err := f.reader.next(to)
		if err != nil {
			t.Fatal(err)
		}
		take(message{seq: f.reader.at, data: data})
	}
}

func TestLogIsAlone(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir)
	if _, err := OpenLog(dir, LogOptions{}); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	if _, err := HoldLog(dir); !errors.Is(err, ErrLocked) {
		t.Errorf("held while open: %v", err)
	}
	feed, err := newLogFeed(l, "recorder-a", "one", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newLogFeed(l, "recorder-b", "one", false); err == nil || !strings.Contains(err.Error(), "another recorder") {
		t.Errorf("two at once: %v", err)
	}
	feed.close()
	if _, err := newLogFeed(l, "recorder-a", "two", false); err == nil || !strings.Contains(err.Error(), `recorder "a" belongs to another spool`) {
		t.Errorf("another spool: %v", err)
	}
	if _, err := newLogFeed(l, "recorder-a", "two", true); err != nil {
		t.Errorf("taken over: %v", err)
	}
}

// TestLogEndsInsideARecord cuts a log at every byte of its last two records:
// all before is there, and the log goes on.
func TestLogEndsInsideARecord(t *testing.T) {
	whole := [][]byte{sealed(40, 1), sealed(8, 2), sealed(100, 3)}
	image := bytes.Join(whole, nil)
	for cut := len(whole[0]); cut < len(image); cut++ {
		dir := t.TempDir()
		if err := os.WriteFile(segmentPath(dir, 0), image[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		l := openLog(t, dir)
		want := len(whole[0])
		if cut >= want+len(whole[1]) {
			want += len(whole[1])
		}
		if l.End() != uint64(want) {
			t.Fatalf("cut at %d: the log ends at %d, want %d", cut, l.End(), want)
		}
		if err := l.append(sealed(30, 9)); err != nil {
			t.Fatal(err)
		}
		r := &logReader{dir: dir}
		var last uint64
		for {
			data, err := r.next(l.End())
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			last = binary.BigEndian.Uint64(data)
		}
		r.close()
		if last != 9 {
			t.Fatalf("cut at %d: the last record is %d", cut, last)
		}
	}
}

// TestLogWithChangedBytes changes a byte here and there: the damage is found,
// kept aside, and what comes after it is recorded all the same.
func TestLogWithChangedBytes(t *testing.T) {
	for at := 0; at < 1500; at += 97 {
		dir := t.TempDir()
		log := openLog(t, filepath.Join(dir, "journal"))
		j := openLogJournal(t, log, nil)
		w, _ := j.Begin(Header{Protocol: "test", Subject: "alice"})
		for n := range uint64(20) {
			must(t, w.Append(KindNote, Note{Turn: n, Code: "test"}.Encode(nil)))
		}
		must(t, w.Close("done"))
		closeJournal(t, j)
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		path := segmentPath(log.dir, 0)
		image, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		image[at] ^= 0x10
		if err := os.WriteFile(path, image, 0o600); err != nil {
			t.Fatal(err)
		}
		report, err := Verify(t.Context(), VerifyOptions{Log: log.dir, Key: testPublic})
		if err != nil || report.OK {
			t.Fatalf("byte %d: not found: %v, %+v", at, err, report)
		}

		r := newRig(t, dir, nil)
		w, _ = r.journal.Begin(Header{Protocol: "test", Subject: "bob"})
		must(t, w.Close("done"))
		flush(t, r.recorder)
		if kept, err := os.ReadDir(filepath.Join(dir, "spool", "damaged")); err != nil || len(kept) == 0 {
			t.Fatalf("byte %d: nothing is kept aside: %v", at, err)
		}
		if s, err := r.index.Session(t.Context(), w.ID().String()); err != nil || s.State != StateArchived {
			t.Fatalf("byte %d: what came later: %+v, %v", at, s, err)
		}
		if report := r.verify(t); report.OK {
			t.Errorf("byte %d: the report does not say so", at)
		}
		r.stop(t)
	}
}

// brokenFile fails now and then: whole, or after a part of the write.
type brokenFile struct {
	logFile
	odds *atomic.Int64 // one in so many writes fails; 0: none
}

func (f brokenFile) fails() bool {
	odds := f.odds.Load()
	return odds > 0 && rand.Int64N(odds) == 0
}

func (f brokenFile) WriteAt(p []byte, off int64) (int, error) {
	if f.fails() {
		n, _ := f.logFile.WriteAt(p[:rand.IntN(len(p)+1)], off)
		return n, &os.PathError{Op: "write", Path: "log", Err: syscall.ENOSPC}
	}
	return f.logFile.WriteAt(p, off)
}

func (f brokenFile) Truncate(size int64) error {
	if f.fails() {
		return &os.PathError{Op: "truncate", Path: "log", Err: syscall.EIO}
	}
	return f.logFile.Truncate(size)
}

func (f brokenFile) Sync() error {
	if f.fails() {
		return &os.PathError{Op: "sync", Path: "log", Err: syscall.EIO}
	}
	return f.logFile.Sync()
}

// TestChaosLog is TestChaos for the local log: writes fail, whole or in part,
// and so does taking them back; the recorder restarts.
func TestChaosLog(t *testing.T) {
	for _, flush := range []bool{false, true} {
		t.Run(fmt.Sprintf("sync=%v", flush), func(t *testing.T) { chaosLogged(t, flush) })
	}
}

func chaosLogged(t *testing.T, syncEach bool) {
	dir := t.TempDir()
	log, err := OpenLog(filepath.Join(dir, "journal"), LogOptions{Segment: 1 << 20, Sync: syncEach})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	var odds atomic.Int64
	plain := log.openFile
	log.openFile = func(name string, flag int) (logFile, error) {
		f, err := plain(name, flag)
		if err != nil {
			return nil, err
		}
		return brokenFile{f, &odds}, nil
	}
	log.file = brokenFile{log.file, &odds}
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	j := openLogJournal(t, log, func(o *JournalOptions) { o.Gateway = "chaos"; o.Logger = quiet })
	r := &rig{t: t, dir: dir, log: log, bucket: openBucket(t, filepath.Join(dir, "archive")), index: openTestIndex(t, filepath.Join(dir, "index.db"))}
	r.restartRecorder()
	odds.Store(100)

	ctx, cancel := context.WithCancel(t.Context())
	var faults sync.WaitGroup
	faults.Go(func() {
		for ctx.Err() == nil {
			pause(ctx, time.Duration(50+rand.IntN(300))*time.Millisecond)
			r.restartRecorder()
		}
	})
	logs := produceAll(t, j, 20, 4096, nil)
	cancel()
	faults.Wait()
	odds.Store(0)
	closeJournal(t, j)
	flush(t, r.recorder)
	closeRecorder(t, r.recorder)
	checkAll(t, logs, r.verifyOptions())
}

// TestBackgroundCommit: what nobody waits for is stored all the same, and a
// wait that is given up does not keep others from theirs.
func TestBackgroundCommit(t *testing.T) {
	log := openLog(t, t.TempDir())
	j := openLogJournal(t, log, nil)
	w, ack := j.Begin(Header{Protocol: "test"})
	eventually(t, "stored", func() bool { done, err := ack.Ready(); return done && err == nil })
	ack = w.Append(KindNote, nil)
	if err := ack.Wait(canceled()); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	must(t, ack)
	before := log.End()
	w.Append(KindNote, nil)
	eventually(t, "stored", func() bool { return log.End() > before })
	must(t, w.Close("done"))
}

// TestCloseWithClosedSessions: sessions that were closed a moment ago do not
// make the journal's end fail, and are in it.
func TestCloseWithClosedSessions(t *testing.T) {
	log := openLog(t, t.TempDir())
	j := openLogJournal(t, log, nil)
	for range 10 {
		w, _ := j.Begin(Header{Protocol: "test"})
		w.Close("done")
	}
	if err := j.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	report, err := Verify(t.Context(), VerifyOptions{Log: log.dir, Key: testPublic})
	if err != nil {
		t.Fatal(err)
	}
	wantOK(t, report)
	for _, s := range report.Sessions {
		if s.State != "closed" {
			t.Errorf("%+v", s)
		}
	}
	if len(report.Sessions) != 10 {
		t.Errorf("%d sessions", len(report.Sessions))
	}
}
