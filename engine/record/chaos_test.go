package record

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/sirupsen/logrus"
)

// TestChaos: 20 sessions of 4,096 acknowledged events each, while connections
// are cut in the middle of a byte stream, the server restarts and the recorder
// restarts. Every acknowledged event must be in the archive, once and in order;
// every other must be there too or be declared lost.
func TestChaos(t *testing.T) {
	const sessions, events = 20, 4096
	dir := t.TempDir()
	srv := startNATS(t, filepath.Join(dir, "nats"))
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)

	wire, js := srv.connect(t)
	j, err := OpenJournal(t.Context(), JournalOptions{JetStream: js, Gateway: "chaos", Key: testKey, Logger: quiet, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer closeJournal(t, j)
	bucket := openBucket(t, filepath.Join(dir, "archive"))
	index := openTestIndex(t, filepath.Join(dir, "index.db"))
	recorderWire, recorderJS := srv.connect(t)
	openRec := func() *Recorder {
		for {
			r, err := OpenRecorder(t.Context(), RecorderOptions{
				JetStream: recorderJS, Dir: filepath.Join(dir, "spool"), Bucket: bucket, Index: index, Key: testKey, Logger: quiet,
			})
			if err == nil {
				return r
			}
			if t.Context().Err() != nil {
				t.Error(err)
				return nil
			}
			time.Sleep(10 * time.Millisecond) // the server is restarting
		}
	}
	recorder := openRec()
	wire.every.Store(4 << 20)
	recorderWire.every.Store(64 << 20)
	wire.cut()

	var produced atomic.Int64
	done := make(chan struct{})
	var faults sync.WaitGroup
	faults.Go(func() {
		for n := 0; ; n++ {
			// The next fault comes when there was progress since the last, so that
			// a slow machine has as many as a fast one and gets to the end, too.
			for next := produced.Load() + 200 + rand.Int64N(2000); produced.Load() < next; {
				select {
				case <-done:
					return
				case <-time.After(5 * time.Millisecond):
				}
			}
			switch n % 6 {
			case 2:
				srv.stop()
				srv.start()
			case 4:
				closeRecorder(t, recorder)
				recorder = openRec()
			default:
				wire.cut()
			}
		}
	})

	logs := produceAll(t, j, sessions, events, &produced)
	close(done)
	faults.Wait()
	wire.every.Store(0)
	recorderWire.every.Store(0)
	wire.cut()
	recorderWire.cut()
	closeJournal(t, j)
	flush(t, recorder)
	closeRecorder(t, recorder)
	checkAll(t, logs, VerifyOptions{Bucket: bucket, Spool: filepath.Join(dir, "spool"), Journal: recorderJS, Key: testPublic})
}

// produceAll counts what was acknowledged in produced, which may be nil.
func produceAll(t *testing.T, j *Journal, sessions, events int, produced *atomic.Int64) []*chaosLog {
	if produced == nil {
		produced = new(atomic.Int64)
	}
	logs := make([]*chaosLog, sessions)
	var wg sync.WaitGroup
	for i := range logs {
		logs[i] = &chaosLog{acked: map[uint64]bool{}, produced: produced}
		wg.Go(func() { logs[i].produce(t, j, uint64(i), events) })
	}
	wg.Wait()
	return logs
}

func checkAll(t *testing.T, logs []*chaosLog, opts VerifyOptions) {
	t.Helper()
	report, err := Verify(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	wantOK(t, report)
	lost, unacked, acked := uint64(0), 0, 0
	for _, s := range report.Sessions {
		if s.State != "closed" || !s.Signed {
			t.Errorf("session %+v", s)
		}
		lost += s.Lost
	}
	archive := OpenArchive(opts.Bucket, "")
	for _, l := range logs {
		unacked += l.check(t, archive)
		acked += len(l.acked)
	}
	t.Logf("%d events, %d were not acknowledged, %d of these are declared lost", acked, unacked, lost)
}

// chaosLog is what one producer knows of its session.
type chaosLog struct {
	id    ulid.ULID
	acked map[uint64]bool // every number that was appended: was it acknowledged?

	produced *atomic.Int64 // by all
}

func (l *chaosLog) produce(t *testing.T, j *Journal, tag uint64, events int) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var w *Writer
	for {
		var ack *Ack
		w, ack = j.Begin(Header{Protocol: "test", Target: "chaos", Subject: fmt.Sprint(tag)})
		if ack.Wait(ctx) == nil {
			break
		}
		w.Close("not begun")
		if ctx.Err() != nil {
			t.Error("no session")
			return
		}
		time.Sleep(time.Millisecond)
	}
	l.id = w.ID()
	number, good := uint64(0), 0
	for good < events {
		window := min(1+rand.IntN(64), events-good)
		first := number + 1
		acks := make([]*Ack, window)
		for i := range acks {
			number++
			body := binary.BigEndian.AppendUint64(nil, number)
			acks[i] = w.Append(KindChunk, Chunk{Turn: number, Format: "test/number", Data: append(body, make([]byte, rand.IntN(600))...)}.Encode(nil))
		}
		for i, a := range acks {
			err := a.Wait(ctx)
			l.acked[first+uint64(i)] = err == nil
			switch {
			case err == nil:
				good++
				l.produced.Add(1)
			case !errors.Is(err, ErrDown):
				t.Errorf("event %d: %v", first+uint64(i), err)
				return
			}
		}
		if !l.acked[number] {
			time.Sleep(5 * time.Millisecond)
		}
	}
	if err := w.Close("done").Wait(ctx); err != nil && !errors.Is(err, ErrDown) {
		t.Errorf("close: %v", err)
	}
}

// check reads the session back and returns how many events were not
// acknowledged.
func (l *chaosLog) check(t *testing.T, a *Archive) int {
	last, declared := uint64(0), uint64(0)
	seen := map[uint64]bool{}
	_, err := a.Read(t.Context(), l.id, testPublic, func(e Event) error {
		switch e.Kind {
		case KindChunk:
			c, err := DecodeChunk(e.Body)
			if err != nil {
				return err
			}
			if n := binary.BigEndian.Uint64(c.Data); n != c.Turn || n <= last {
				t.Errorf("session %s: event %d after %d", l.id, n, last)
			}
			last = c.Turn
			seen[last] = true
		case KindLoss:
			loss, err := DecodeLoss(e.Body)
			if err != nil {
				return err
			}
			declared += loss.Count + loss.Refused
		}
		return nil
	})
	if err != nil {
		t.Error(err)
		return 0
	}
	missing, unacked := uint64(0), 0
	for n, acked := range l.acked {
		if !acked {
			unacked++
		}
		if seen[n] {
			continue
		}
		missing++
		if acked {
			t.Errorf("session %s: event %d was acknowledged and is missing", l.id, n)
		}
	}
	if missing > declared {
		t.Errorf("session %s: %d events are missing, %d are declared", l.id, missing, declared)
	}
	return unacked
}
