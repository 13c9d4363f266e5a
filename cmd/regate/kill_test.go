package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/regate-dev/regate/engine/record"
)

// TestKill: `regate serve` is killed again and again while agents read and
// write through it. Every value that an agent was shown, and every row that
// reached the database, is in the recording, and `regate verify` finds nothing
// wrong: right after the kill, and after the next start.
func TestKill(t *testing.T) {
	s := newSite(t)
	l := &load{shown: map[string]bool{}}
	for round := range 4 {
		p := s.serve(t)
		end := l.start(t, p, round)
		time.Sleep(time.Duration(200+rand.IntN(800)) * time.Millisecond)
		l.killed.Store(true)
		p.kill(t)
		end()
		wantAll(t, regate(t, 0, "verify", "--journal", s.state, "-c", s.config), "everything is whole and unchanged")
		if t.Failed() {
			return
		}
	}
	s.serve(t).stop(t)
	var report record.Report
	if err := json.Unmarshal([]byte(regate(t, 0, "verify", "-c", s.config, "-o", "json")), &report); err != nil {
		t.Fatal(err)
	}
	recorded := readMarks(t, filepath.Join(s.state, "archive"))
	for mark := range l.shown {
		if !recorded[mark] {
			t.Errorf("%s was shown to an agent and is not in the recording", mark)
		}
	}
	conn, err := pgx.Connect(t.Context(), s.db.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	rows, _ := conn.Query(t.Context(), "SELECT mark FROM marks")
	written, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, mark := range written {
		if !recorded[mark] {
			t.Errorf("%s was written and is not in the recording", mark)
		}
	}
	if len(l.shown) == 0 || len(written) == 0 || len(report.Sessions) < 4 {
		t.Errorf("%d values were shown, %d rows written, in %d sessions", len(l.shown), len(written), len(report.Sessions))
	}
	t.Logf("%d values shown, %d rows written, %d sessions", len(l.shown), len(written), len(report.Sessions))
}

// load is what agents do while the gateway is killed.
type load struct {
	killed atomic.Bool
	mu     sync.Mutex
	shown  map[string]bool // values that an agent has read
}

// start begins it; end waits until every agent has noticed the kill.
func (l *load) start(t *testing.T, p *serving, round int) (end func()) {
	l.killed.Store(false)
	var agents sync.WaitGroup
	for agent := range 6 {
		login := p.login(t)
		if agent%2 == 1 {
			login.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
		}
		agents.Go(func() {
			for n := 0; !l.killed.Load(); n++ {
				if err := l.session(login, fmt.Sprintf("%d-%d-%d", round, agent, n)); err != nil && !l.killed.Load() {
					t.Errorf("agent %d: %v", agent, err)
					return
				}
			}
		})
	}
	return agents.Wait
}

// session is one connection that reads and writes marks.
func (l *load) session(login *pgx.ConnConfig, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), awaitFor)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, login)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for n := range 20 {
		mark := fmt.Sprintf("m-%s-%d", name, n)
		switch n % 4 {
		case 0:
			_, err = conn.Exec(ctx, "INSERT INTO marks VALUES ('"+mark+"-w', 'secret')")
		case 3: // several pieces on their way at once
			err = l.read(ctx, conn, "SELECT '"+mark+"-' || i, repeat('x', 200) FROM generate_series(1, 3000) i")
		default:
			err = l.read(ctx, conn, "SELECT '"+mark+"-' || i, '' FROM generate_series(1, 3) i")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *load) read(ctx context.Context, conn *pgx.Conn, sql string) error {
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var mark, pad string
		if err := rows.Scan(&mark, &pad); err != nil {
			return err
		}
		l.mu.Lock()
		l.shown[mark] = true
		l.mu.Unlock()
	}
	return rows.Err()
}

var marks = regexp.MustCompile(`m(-\d+){4}-(\d+|w)`)

// readMarks returns the marks in all that is archived: in results as the agent
// was sent them, and in the statements that were decided.
func readMarks(t *testing.T, archive string) map[string]bool {
	t.Helper()
	bucket, _, err := openArchive(t.Context(), "file://"+archive)
	if err != nil {
		t.Fatal(err)
	}
	defer bucket.Close()
	found := map[string]bool{}
	add := func(b []byte) {
		for _, m := range marks.FindAll(b, -1) {
			found[string(m)] = true
		}
	}
	a := record.OpenArchive(bucket, "")
	err = a.Objects(t.Context(), func(o record.Object) error {
		var results []byte // a value may be cut by the end of a chunk
		problems, err := a.Read(t.Context(), o.Session, nil, func(e record.Event) error {
			if e.Kind != record.KindChunk {
				add(e.Body)
				return nil
			}
			c, err := record.DecodeChunk(e.Body)
			results = append(results, c.Data...)
			return err
		})
		for _, p := range problems {
			t.Errorf("session %s: %s", o.Session, p)
		}
		add(results)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
