package record

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// TestReindex: an index that is lost comes back as it was, from the archive
// alone, and what is there already is left alone.
func TestReindex(t *testing.T) {
	r := newRig(t, t.TempDir(), nil)
	logs := produceAll(t, r.journal, 3, 100, nil)
	flush(t, r.recorder)
	r.stop(t)
	list := func(x *Index) (rows []SessionRow, decisions []DecisionRow) {
		t.Helper()
		rows, err := x.Sessions(t.Context(), SessionFilter{})
		if err != nil {
			t.Fatal(err)
		}
		if decisions, err = x.Decisions(t.Context(), DecisionFilter{}); err != nil {
			t.Fatal(err)
		}
		return rows, decisions
	}
	wantRows, wantDecisions := list(r.index)
	if len(wantRows) != len(logs) {
		t.Fatalf("%d sessions", len(wantRows))
	}

	x := openTestIndex(t, filepath.Join(t.TempDir(), "index.db"))
	got, err := Reindex(t.Context(), r.bucket, x)
	if err != nil || got.Sessions != 3 || got.Known != 0 || len(got.Problems) > 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	rows, decisions := list(x)
	if !reflect.DeepEqual(rows, wantRows) || !reflect.DeepEqual(decisions, wantDecisions) {
		t.Errorf("got\n%+v\n%+v\nwant\n%+v\n%+v", rows, decisions, wantRows, wantDecisions)
	}
	if got, err = Reindex(t.Context(), r.bucket, x); err != nil || got.Sessions != 0 || got.Known != 3 {
		t.Errorf("again: %+v, %v", got, err)
	}

	// A recording with its end cut off is reported, and no reason to stop.
	path := filepath.Join(r.dir, "archive", filepath.FromSlash(wantRows[0].Object))
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()/2); err != nil {
		t.Fatal(err)
	}
	got, err = Reindex(t.Context(), r.bucket, openTestIndex(t, filepath.Join(t.TempDir(), "index.db")))
	if err != nil || got.Sessions != 3 || len(got.Problems) != 1 {
		t.Errorf("damaged: %+v, %v", got, err)
	}
}
