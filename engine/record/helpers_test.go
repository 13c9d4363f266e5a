package record

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"

	"github.com/regate-dev/regate/engine/state"
)

// testKey is the same in every test, so that files are comparable.
var testKey = func() ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("regate test key"))
	return ed25519.NewKeyFromSeed(seed[:])
}()

var testPublic = testKey.Public().(ed25519.PublicKey)

func testLog(t testing.TB) logrus.FieldLogger {
	log := logrus.New()
	log.SetLevel(logrus.WarnLevel)
	log.SetOutput(t.Output())
	return log
}

func openState(t testing.TB, dir string) *state.State {
	t.Helper()
	st, err := state.Open(t.Context(), state.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeState(t, st) })
	return st
}

func closeState(t testing.TB, st *state.State) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := st.Close(ctx); err != nil {
		t.Error(err)
	}
}

func openJournal(t testing.TB, st *state.State, change func(*JournalOptions)) *Journal {
	t.Helper()
	opts := JournalOptions{
		JetStream: st.JetStream(), Gateway: "test", Key: testKey, FreeBytes: st.FreeBytes, Logger: testLog(t),
	}
	if change != nil {
		change(&opts)
	}
	j, err := OpenJournal(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeJournal(t, j) })
	return j
}

func closeJournal(t testing.TB, j *Journal) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_ = j.Close(ctx)
}

func must(t testing.TB, a *Ack) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := a.Wait(ctx); err != nil {
		t.Fatal(err)
	}
}

// rig is a gateway's recording as a whole, in one directory, with a local log
// or, where there is a state, with JetStream.
type rig struct {
	t        testing.TB
	dir      string
	state    *state.State
	log      *Log
	journal  *Journal
	recorder *Recorder
	bucket   *blob.Bucket
	index    *Index
}

// newRig makes one with a local log.
func newRig(t testing.TB, dir string, change func(*JournalOptions)) *rig {
	t.Helper()
	return (&rig{t: t, dir: dir, log: openLog(t, filepath.Join(dir, "journal"))}).open(change)
}

// newStreamRig makes one with JetStream.
func newStreamRig(t testing.TB, dir string, change func(*JournalOptions)) *rig {
	t.Helper()
	return (&rig{t: t, dir: dir, state: openState(t, filepath.Join(dir, "state"))}).open(change)
}

// onBoth runs a test with either journal.
func onBoth(t *testing.T, test func(t *testing.T, newRig func(testing.TB, string, func(*JournalOptions)) *rig)) {
	t.Run("log", func(t *testing.T) { test(t, newRig) })
	t.Run("stream", func(t *testing.T) { test(t, newStreamRig) })
}

func openLog(t testing.TB, dir string) *Log {
	t.Helper()
	l, err := OpenLog(dir, LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func (r *rig) open(change func(*JournalOptions)) *rig {
	r.t.Helper()
	r.journal = r.openJournal(change)
	r.bucket = openBucket(r.t, filepath.Join(r.dir, "archive"))
	r.index = openTestIndex(r.t, filepath.Join(r.dir, "index.db"))
	r.restartRecorder()
	return r
}

func (r *rig) openJournal(change func(*JournalOptions)) *Journal {
	r.t.Helper()
	if r.log == nil {
		return openJournal(r.t, r.state, change)
	}
	return openLogJournal(r.t, r.log, change)
}

func openLogJournal(t testing.TB, log *Log, change func(*JournalOptions)) *Journal {
	t.Helper()
	opts := JournalOptions{Log: log, Gateway: "test", Key: testKey, Logger: testLog(t)}
	if change != nil {
		change(&opts)
	}
	j, err := OpenJournal(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeJournal(t, j) })
	return j
}

func (r *rig) recorderOptions() RecorderOptions {
	opts := RecorderOptions{Dir: filepath.Join(r.dir, "spool"), Bucket: r.bucket, Index: r.index, Key: testKey, Logger: testLog(r.t), Log: r.log}
	if r.log == nil {
		opts.JetStream = r.state.JetStream()
	}
	return opts
}

func (r *rig) restartRecorder() {
	r.t.Helper()
	if r.recorder != nil {
		closeRecorder(r.t, r.recorder)
	}
	recorder, err := OpenRecorder(r.t.Context(), r.recorderOptions())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { closeRecorder(r.t, recorder) })
	r.recorder = recorder
}

// events reads the journal's events of every session.
func (r *rig) events(t *testing.T) []Event {
	t.Helper()
	return allEvents(t, r.verifyOptions())
}

func (r *rig) verifyOptions() VerifyOptions {
	opts := VerifyOptions{Bucket: r.bucket, Spool: filepath.Join(r.dir, "spool"), Key: testPublic}
	if r.log != nil {
		opts.Log = r.log.dir
	} else {
		opts.Journal = r.state.JetStream()
	}
	return opts
}

func openBucket(t testing.TB, dir string) *blob.Bucket {
	t.Helper()
	bucket, err := fileblob.OpenBucket(dir, &fileblob.Options{CreateDir: true, NoTempDir: true, Metadata: fileblob.MetadataDontWrite})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bucket.Close() })
	return bucket
}

func openTestIndex(t testing.TB, path string) *Index {
	t.Helper()
	x, err := OpenIndex(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	return x
}

func openRecorder(t testing.TB, st *state.State, bucket *blob.Bucket, index *Index, name, spool string) *Recorder {
	t.Helper()
	r, err := OpenRecorder(t.Context(), RecorderOptions{
		JetStream: st.JetStream(), Name: name, Dir: spool, Bucket: bucket, Index: index, Key: testKey, Logger: testLog(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeRecorder(t, r) })
	return r
}

func closeRecorder(t testing.TB, r *Recorder) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := r.Close(ctx); err != nil {
		t.Error(err)
	}
}

func flush(t testing.TB, r *Recorder) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	if err := r.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

// stop ends everything in order and leaves the files.
func (r *rig) stop(t testing.TB) {
	t.Helper()
	closeJournal(t, r.journal)
	closeRecorder(t, r.recorder)
	if r.log == nil {
		closeState(t, r.state)
	} else if err := r.log.Close(); err != nil {
		t.Error(err)
	}
}

// verify verifies the archive, the spool and the journal, as an auditor with
// the public key would.
func (r *rig) verify(t testing.TB) *Report {
	t.Helper()
	report, err := Verify(t.Context(), r.verifyOptions())
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func wantOK(t testing.TB, report *Report) {
	t.Helper()
	if !report.OK {
		for _, p := range report.Problems {
			t.Error(p)
		}
	}
}

// sampleTurn appends the events of one statement, as the gate does, and
// returns the last acknowledgement.
func sampleTurn(w *Writer, turn uint64, effect, text string) *Ack {
	intern := func(v string) uint32 { return w.Intern(sha256.Sum256([]byte(v)), []byte(v)) }
	now := time.Now().UnixNano()
	entries := []InputEntry{
		{Key: "action", Part: intern(`{"verb":"select","writes":false}`)},
		{Key: "resource", Part: intern(`{"kind":"table","names":["public.users"],"table_names":["public.users"]}`)},
		{Key: "sql", Part: intern(fmt.Sprintf(`{"command":"select","text":%q}`, text))},
		{Key: "stage", JSON: []byte(`"request"`)},
	}
	req := Request{Turn: turn, Time: now, ID: fmt.Sprintf("r%d", turn), Stage: "request", Input: entries}
	req.InputDigest = digestOf(w, entries)
	w.Append(KindRequest, req.Encode(nil))
	ruling := intern(fmt.Sprintf(`{"effect":%q,"reasons":[{"id":"acme.sql/rule","effect":%q,"msg":"because"}]}`, effect, effect))
	ack := w.Append(KindDecision, Decision{
		Turn: turn, ID: fmt.Sprintf("%s-%d", w.ID(), turn), Time: now, Stage: "request", Effect: effect, Ruling: ruling,
	}.Encode(nil))
	if effect != "allow" {
		return ack
	}
	w.Append(KindForward, Forward{Turn: turn}.Encode(nil))
	w.Append(KindChunk, Chunk{Turn: turn, Format: "test/text", Data: []byte("row of " + text + "\n")}.Encode(nil))
	return w.Append(KindOutcome, Outcome{Turn: turn, Rows: 1, Bytes: 10, Tag: "SELECT 1", DurationNS: 1000}.Encode(nil))
}

// digestOf computes an input digest the way the gate's document does.
func digestOf(w *Writer, entries []InputEntry) Hash {
	byIndex := map[uint32]Hash{}
	w.mu.Lock()
	for d, i := range w.parts {
		byIndex[i] = d
	}
	w.mu.Unlock()
	h := sha256.New()
	for _, e := range entries {
		sum, ok := byIndex[e.Part]
		if !ok {
			sum = sha256.Sum256(e.JSON)
		}
		h.Write([]byte(e.Key))
		h.Write([]byte{0})
		h.Write(sum[:])
	}
	return Hash(h.Sum(nil))
}
