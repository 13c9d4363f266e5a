package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// TestFullJournal: while the journal is full nothing passes, and the agent is
// told why; when the recorder has made room it goes on. All that an agent was
// shown and all that it wrote is in the recording.
func TestFullJournal(t *testing.T) {
	s := newSite(t)
	p := s.serve(t, "REGATE_RECORD_JOURNAL_MAX_BYTES=16MiB")
	ctx, cancel := context.WithTimeout(t.Context(), awaitFor)
	defer cancel()
	l := &load{shown: map[string]bool{}}
	written := map[string]bool{}
	for round := range 2 {
		conn, err := pgx.ConnectConfig(ctx, p.login(t))
		for n := 0; err == nil; n++ {
			err = l.read(ctx, conn, fmt.Sprintf("SELECT 'm-0-%d-%d-%d-' || i, repeat(md5(i::text), 20) FROM generate_series(1, 3000) i", round, n/20, n%20))
		}
		var refused *pgconn.PgError
		if !errors.As(err, &refused) || refused.Code != "58030" || refused.Detail != "reason: record/unavailable" && refused.Detail != "record/unavailable" {
			t.Fatalf("want record/unavailable: %v", err)
		}
		for n := 0; ; n++ {
			mark := fmt.Sprintf("m-1-0-%d-%d-w", round, n)
			if conn, err = pgx.ConnectConfig(ctx, p.login(t)); err == nil {
				_, err = conn.Exec(ctx, "INSERT INTO marks VALUES ('"+mark+"', '')")
				conn.Close(ctx)
			}
			if err == nil {
				written[mark] = true
				break
			}
			if ctx.Err() != nil {
				t.Fatalf("it does not come back: %v", err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	p.stop(t)
	wantAll(t, regate(t, 0, "verify", "-c", s.config), "everything is whole and unchanged")
	recorded := readMarks(t, filepath.Join(s.state, "archive"))
	for _, marks := range []map[string]bool{l.shown, written} {
		for mark := range marks {
			if !recorded[mark] {
				t.Errorf("%s is not in the recording", mark)
			}
		}
	}
	direct, err := pgx.Connect(ctx, s.db.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer direct.Close(context.WithoutCancel(ctx))
	var n int
	if err := direct.QueryRow(ctx, "SELECT count(*) FROM marks").Scan(&n); err != nil || n != len(written) {
		t.Errorf("%d rows were written, %d were acknowledged, %v", n, len(written), err)
	}
	t.Logf("%d values shown, %d rows written", len(l.shown), n)
}
