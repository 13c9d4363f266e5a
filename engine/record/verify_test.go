package record

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"
)

// recordSome archives sessions in dir and returns their ids.
func recordSome(t *testing.T, dir string, sessions, turns int) []ulid.ULID {
	t.Helper()
	r := newRig(t, dir, nil)
	var ids []ulid.ULID
	for range sessions {
		w, _ := r.journal.Begin(Header{Protocol: "postgres", Target: "shop", Subject: "alice"})
		for turn := range turns {
			sampleTurn(w, uint64(turn+1), "allow", "SELECT 1")
		}
		must(t, w.Close("done"))
		ids = append(ids, w.ID())
	}
	flush(t, r.recorder)
	r.stop(t)
	return ids
}

func verifyArchive(t *testing.T, dir string, key ed25519.PublicKey) *Report {
	t.Helper()
	report, err := Verify(t.Context(), VerifyOptions{Bucket: openBucket(t, filepath.Join(dir, "archive")), Key: key})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestVerifyFindsEveryChangedByte(t *testing.T) {
	dir := t.TempDir()
	id := recordSome(t, dir, 1, 1)[0]
	wantOK(t, verifyArchive(t, dir, testPublic))
	path := filepath.Join(dir, "archive", ObjectKey(id))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	bucket := openBucket(t, filepath.Join(dir, "archive"))
	check := func(what string, data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		report, err := Verify(t.Context(), VerifyOptions{Bucket: bucket, Key: testPublic})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if report.OK {
			t.Errorf("%s: not found", what)
		}
		for _, p := range report.Problems {
			if p.Place != ObjectKey(id) || p.Session != id.String() {
				t.Errorf("%s: problem without a place: %s", what, p)
			}
		}
	}
	for i := range whole {
		for _, mask := range []byte{0x01, 0xff} {
			bad := bytes.Clone(whole)
			bad[i] ^= mask
			check("changed byte", bad)
		}
	}
	for n := range whole {
		check("cut short", whole[:n])
	}
	check("longer", append(bytes.Clone(whole), 0))
}

// forge writes a recording of changed events with a valid file around them,
// as one would who can write the archive and has not the key.
func forge(t *testing.T, dir string, id ulid.ULID, change func([]Event) []Event) {
	t.Helper()
	var events []Event
	bucket := openBucket(t, filepath.Join(dir, "archive"))
	if _, err := OpenArchive(bucket, "").Read(t.Context(), id, testPublic, func(e Event) error {
		e.Body = bytes.Clone(e.Body)
		events = append(events, e)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	w, err := newRecordingWriter(&file, id)
	if err != nil {
		t.Fatal(err)
	}
	head := genesis(id)
	events = change(events)
	for _, e := range events {
		encoded := e.Encode(nil)
		head = chain(head, encoded)
		if err := w.event(encoded); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.finish(uint64(len(events)), head); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "archive", ObjectKey(id)), file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// rechain makes the checks and numbers of events consistent again.
func rechain(id ulid.ULID, events []Event) []Event {
	head := genesis(id)
	for i := range events {
		events[i].Seq, events[i].Prev = uint64(i+1), head.check()
		head = chain(head, events[i].Encode(nil))
	}
	return events
}

func TestVerifyFindsForgery(t *testing.T) {
	original := t.TempDir()
	id := recordSome(t, original, 1, 3)[0]
	other := sha256.Sum256([]byte("another key"))
	thief := ed25519.NewKeyFromSeed(other[:])
	cases := []struct {
		name   string
		want   string
		change func([]Event) []Event
	}{
		{"nothing", "", func(e []Event) []Event { return e }},
		{"changed", "event 9", func(e []Event) []Event { e[7].Body[len(e[7].Body)-1] ^= 1; return e }},
		{"changed and chained anew", "the receipt is for other events", func(e []Event) []Event {
			e[7].Body[len(e[7].Body)-1] ^= 1
			return rechain(id, e)
		}},
		{"removed", "events 5 to 5 are missing", func(e []Event) []Event { return append(e[:4], e[5:]...) }},
		{"removed and chained anew", "closing receipt", func(e []Event) []Event { return rechain(id, append(e[:4], e[5:]...)) }},
		{"swapped", "comes after event", func(e []Event) []Event { e[3], e[4] = e[4], e[3]; return e }},
		{"twice", "comes after event", func(e []Event) []Event { return append(e[:4], e[3:]...) }},
		{"without its end", "no closing receipt", func(e []Event) []Event { return e[:len(e)-1] }},
		{"after its end", "after the closing receipt", func(e []Event) []Event {
			return append(e, Event{Session: id, Seq: uint64(len(e) + 1), Kind: KindNote, Body: Note{}.Encode(nil)})
		}},
		{"another time at the end", "the receipt's time", func(e []Event) []Event { e[len(e)-1].Time++; return e }},
		{"another session's event", "event of session", func(e []Event) []Event { e[3].Session[15] ^= 1; return e }},
		{"a loss made up", "closing receipt", func(e []Event) []Event {
			gap := Gap{First: 4, Last: 4, After: headOf(id, e[:4])}
			e = append(e[:3], e[4:]...)
			last := e[len(e)-1]
			body := Loss{Count: 1, Gaps: []Gap{gap}}.Encode(nil)
			e[len(e)-1] = Event{Session: id, Seq: last.Seq, Prev: headOf(id, e[:len(e)-1], gap).check(), Kind: KindLoss, Body: body}
			last.Seq++
			last.Prev = headOf(id, e, gap).check()
			return append(e, last)
		}},
		{"signed by another", "signed with key", func(e []Event) []Event {
			last := &e[len(e)-1]
			c, err := DecodeClose(last.Body)
			if err != nil {
				t.Fatal(err)
			}
			c.Reason = "all is well"
			c.sign(id, thief)
			last.Body = c.Encode(nil)
			return e
		}},
		{"signature changed", "the signature is wrong", func(e []Event) []Event {
			last := &e[len(e)-1]
			last.Body[len(last.Body)-1] ^= 1
			return e
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(original)); err != nil {
				t.Fatal(err)
			}
			forge(t, dir, id, c.change)
			report := verifyArchive(t, dir, testPublic)
			if c.want == "" {
				wantOK(t, report)
				return
			}
			text := ""
			for _, p := range report.Problems {
				text += p.String() + "\n"
			}
			if report.OK || !strings.Contains(text, c.want) {
				t.Errorf("report says %q, want %q", text, c.want)
			}
		})
	}
}

// headOf is the chain hash after events, across a gap that After closes.
func headOf(id ulid.ULID, events []Event, gaps ...Gap) Hash {
	head := genesis(id)
	for _, e := range events {
		for _, g := range gaps {
			if e.Seq == g.Last+1 {
				head = g.After
			}
		}
		head = chain(head, e.Encode(nil))
	}
	return head
}

func TestVerifyFindsMissingSession(t *testing.T) {
	dir := t.TempDir()
	ids := recordSome(t, dir, 4, 1)
	archive := filepath.Join(dir, "archive")
	if err := os.Remove(filepath.Join(archive, ObjectKey(ids[1]))); err != nil {
		t.Fatal(err)
	}
	report := verifyArchive(t, dir, testPublic)
	if report.OK || len(report.Problems) != 0 || len(report.Notes) != 1 || !strings.Contains(report.Notes[0], "session 2 of 4 not found") {
		t.Errorf("the archive alone: %v, %v", report.Problems, report.Notes)
	}
	if len(report.Missing) != 1 || report.Missing[0].Count != 1 || report.Missing[0].Numbers != "2" || report.Missing[0].Ended {
		t.Errorf("missing in the archive alone: %+v", report.Missing)
	}
	full := &rig{dir: dir, log: openLog(t, filepath.Join(dir, "journal")), bucket: openBucket(t, archive)}
	report = full.verify(t)
	if report.OK || !strings.Contains(report.Problems[len(report.Problems)-1].String(), "session 2 of 4 not found") {
		t.Errorf("with journal and spool: %v", report.Problems)
	}
	if text := report.Problems[len(report.Problems)-1].String(); !strings.HasPrefix(text, "gateway ") {
		t.Errorf("a problem of no session begins with %q", text)
	}
	allowed, err := Verify(t.Context(), VerifyOptions{Bucket: full.bucket, Spool: filepath.Join(dir, "spool"), Key: testPublic, AllowMissing: true})
	if err != nil || !allowed.OK || len(allowed.Missing) != 1 || len(allowed.Notes) != 1 {
		t.Errorf("missing is allowed: %+v, %v", allowed, err)
	}
	if report, err := Verify(t.Context(), VerifyOptions{Bucket: full.bucket, Key: testPublic, Sessions: []string{ids[1].String()}}); err != nil || report.OK {
		t.Errorf("the session itself: %+v, %v", report, err)
	}
	if report, err := Verify(t.Context(), VerifyOptions{Bucket: full.bucket, Key: testPublic, Sessions: []string{ids[0].String()}}); err != nil || !report.OK {
		t.Errorf("another: %+v, %v", report, err)
	}
}

// TestVerifyKnowsEndedRuns: the recorder's folder and a later run are enough to
// know that a run has ended and that its recording is lost.
func TestVerifyKnowsEndedRuns(t *testing.T) {
	dir := t.TempDir()
	ids := recordSome(t, dir, 3, 1)
	archive := filepath.Join(dir, "archive")
	if err := os.Remove(filepath.Join(archive, ObjectKey(ids[0]))); err != nil {
		t.Fatal(err)
	}
	opts := VerifyOptions{Bucket: openBucket(t, archive), Spool: filepath.Join(dir, "spool"), Key: testPublic}
	alive, err := Verify(t.Context(), opts)
	if err != nil || alive.OK || len(alive.Problems) != 0 || len(alive.Missing) != 1 || alive.Missing[0].Ended {
		t.Errorf("the last run may still be alive: %+v, %v", alive, err)
	}
	recordSome(t, dir, 1, 1)
	ended, err := Verify(t.Context(), opts)
	if err != nil || ended.OK || len(ended.Problems) != 1 || !strings.Contains(ended.Problems[0].Text, "session 1 of 3 not found") {
		t.Errorf("the run has ended: %+v, %v", ended, err)
	}
}
