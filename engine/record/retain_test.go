package record

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
)

// kept is a rig with n archived sessions of the target "chaos", and their ids,
// oldest first.
func kept(t *testing.T, n int) (*rig, []string) {
	t.Helper()
	r := newRig(t, t.TempDir(), nil)
	produceAll(t, r.journal, n, 20, nil)
	flush(t, r.recorder)
	r.stop(t)
	rows, err := r.index.Sessions(t.Context(), SessionFilter{})
	if err != nil || len(rows) != n {
		t.Fatal(len(rows), err)
	}
	ids := make([]string, n)
	for i, row := range rows {
		ids[n-1-i] = row.ID
	}
	return r, ids
}

func (r *rig) sweep(t *testing.T, change func(*SweepOptions)) Swept {
	t.Helper()
	opts := SweepOptions{
		Bucket: r.bucket, Index: r.index, Key: testKey, Recorder: "main",
		Retention: Retention{Keep: time.Hour}, Now: time.Now().Add(2 * time.Hour),
	}
	if change != nil {
		change(&opts)
	}
	done, err := Sweep(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// TestRetention: recordings go when their time is over, unless somebody holds
// them; an auditor sees that they were deleted on purpose and not lost.
func TestRetention(t *testing.T) {
	r, ids := kept(t, 4)
	for name, change := range map[string]func(*SweepOptions){
		"early":         func(o *SweepOptions) { o.Now = time.Now() },
		"for ever":      func(o *SweepOptions) { o.Retention = Retention{} },
		"other target":  func(o *SweepOptions) { o.Retention = Retention{Rules: []RetentionRule{{"shop", time.Hour}}} },
		"rule, forever": func(o *SweepOptions) { o.Retention.Rules = []RetentionRule{{"cha*", 0}} },
	} {
		if got := r.sweep(t, change); got.Deleted != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if err := PlaceHold(t.Context(), r.bucket, LegalHold{Session: ids[1], Reason: "case 7"}); err != nil {
		t.Fatal(err)
	}
	if got := r.sweep(t, nil); got != (Swept{Deleted: 3, Held: 1}) {
		t.Errorf("%+v", got)
	}
	rows, err := r.index.Sessions(t.Context(), SessionFilter{})
	if err != nil || len(rows) != 1 || rows[0].ID != ids[1] {
		t.Errorf("left are %+v, %v", rows, err)
	}
	report := r.verify(t)
	wantOK(t, report)
	if report.Deleted != 3 || len(report.Sessions) != 1 || len(report.Missing) > 0 {
		t.Errorf("%+v", report)
	}

	if err := LiftHold(t.Context(), r.bucket, ids[1]); err != nil {
		t.Fatal(err)
	}
	if err := LiftHold(t.Context(), r.bucket, ids[1]); !errors.Is(err, ErrNoSession) {
		t.Error(err)
	}
	later := func(o *SweepOptions) { o.Now = o.Now.AddDate(0, 2, 0) } // another month's folder
	if got := r.sweep(t, later); got != (Swept{Deleted: 1}) {
		t.Errorf("%+v", got)
	}
	report = r.verify(t)
	wantOK(t, report)
	if report.Deleted != 4 {
		t.Errorf("%+v", report)
	}
}

// TestSweepCutShort: whatever a sweep has not done the next one does, with one
// tombstone a recording.
func TestSweepCutShort(t *testing.T) {
	r, ids := kept(t, 3)
	stop := errors.New("full disk")
	_, err := Sweep(t.Context(), SweepOptions{
		Bucket: r.bucket, Index: r.index, Key: testKey, Recorder: "main", Retention: Retention{Keep: time.Hour},
		Now: time.Now().Add(2 * time.Hour), Settle: func(string) error { return stop },
	})
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
	// The tombstone is there, the recording too.
	report := r.verify(t)
	wantOK(t, report)
	if report.Deleted != 1 || len(report.Sessions) != 3 || !strings.Contains(strings.Join(report.Notes, "\n"), ids[0]) {
		t.Errorf("%+v", report)
	}
	if got := r.sweep(t, nil); got.Deleted != 3 {
		t.Errorf("%+v", got)
	}
	if report = r.verify(t); report.Deleted != 3 || len(report.Sessions) != 0 || !report.OK {
		t.Errorf("%+v", report)
	}
	// A recording that is brought back from a copy is deleted again, under the
	// tombstone that it has.
	if got := r.sweep(t, nil); got.Deleted != 0 {
		t.Errorf("%+v", got)
	}
}

// TestTombstonesAreTamperEvident: changed, removed and moved tombstones are
// found.
func TestTombstonesAreTamperEvident(t *testing.T) {
	r, _ := kept(t, 3)
	r.sweep(t, nil)
	paths, err := filepath.Glob(filepath.Join(r.dir, "archive", "tombstones", "main", "*", "0*"))
	if err != nil || len(paths) != 3 {
		t.Fatal(paths, err)
	}
	second, err := os.ReadFile(paths[1])
	if err != nil {
		t.Fatal(err)
	}
	put := func(data []byte) {
		t.Helper()
		if err := os.WriteFile(paths[1], data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range second {
		changed := append([]byte(nil), second...)
		changed[i] ^= 1
		put(changed)
		if report := r.verify(t); report.OK {
			t.Errorf("byte %d was changed and nothing is wrong", i)
		}
	}
	if err := os.Remove(paths[1]); err != nil {
		t.Fatal(err)
	}
	if report := r.verify(t); report.OK || !strings.Contains(report.Problems[0].Text, "some are missing") {
		t.Errorf("%+v", report)
	}
	put(second)
	wantOK(t, r.verify(t))

	// Signed by somebody else.
	tomb, err := DecodeTombstone(second)
	if err != nil {
		t.Fatal(err)
	}
	if err := tomb.Check(testPublic); err != nil {
		t.Error(err)
	}
	tomb.Session = ulid.Make()
	if tomb.Check(testPublic) == nil {
		t.Error("a tombstone for another session is taken")
	}
}
