package record

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// migrations bring the database from version n to n+1. They are never changed
// after a release; new ones are added at the end.
var migrations = []string{
	`CREATE TABLE sessions (
		id TEXT PRIMARY KEY,
		started INTEGER NOT NULL, -- Unix time in nanoseconds
		ended INTEGER NOT NULL,   -- 0 while it lives
		gateway TEXT NOT NULL,
		subject TEXT NOT NULL,
		issuer TEXT NOT NULL,
		client_id TEXT NOT NULL,
		actor TEXT NOT NULL,
		client TEXT NOT NULL,
		application TEXT NOT NULL,
		target TEXT NOT NULL,
		protocol TEXT NOT NULL,
		database TEXT NOT NULL,
		role TEXT NOT NULL,
		requests INTEGER NOT NULL,
		denials INTEGER NOT NULL,
		holds INTEGER NOT NULL,
		rows INTEGER NOT NULL,
		bytes INTEGER NOT NULL,
		errors INTEGER NOT NULL,
		lost INTEGER NOT NULL,
		events INTEGER NOT NULL,
		state TEXT NOT NULL,
		reason TEXT NOT NULL,
		object TEXT NOT NULL,
		size INTEGER NOT NULL,
		final_hash TEXT NOT NULL
	) STRICT, WITHOUT ROWID;
	CREATE INDEX sessions_started ON sessions (started, id);
	CREATE INDEX sessions_subject ON sessions (subject, started);
	CREATE INDEX sessions_target ON sessions (target, started);
	CREATE INDEX sessions_live ON sessions (id) WHERE state <> 'archived';
	CREATE TABLE decisions (
		session TEXT NOT NULL,
		seq INTEGER NOT NULL, -- of the event
		id TEXT NOT NULL,
		turn INTEGER NOT NULL,
		stage TEXT NOT NULL,
		time INTEGER NOT NULL,
		effect TEXT NOT NULL,
		verb TEXT NOT NULL,
		reasons TEXT NOT NULL, -- JSON list
		tables TEXT NOT NULL,  -- JSON list
		text TEXT NOT NULL,
		count INTEGER NOT NULL, -- of repeats, the first included
		last INTEGER NOT NULL,  -- time of the last repeat
		PRIMARY KEY (session, seq)
	) STRICT, WITHOUT ROWID;
	CREATE INDEX decisions_effect ON decisions (effect, time);
	CREATE INDEX decisions_time ON decisions (time);
	CREATE INDEX decisions_id ON decisions (id);`,
}

// Index is the searchable summary of all sessions, in SQLite. It holds nothing
// that the archive does not, but for what is still on its way there.
type Index struct {
	db *sql.DB
}

// OpenIndex opens the database, makes it when there is none, and brings it up
// to date.
func OpenIndex(path string) (*Index, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	// FULL: what the recorder has committed here it takes from the journal.
	x, err := openIndex(path, url.Values{"_txlock": {"immediate"}, "_pragma": {
		"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)",
	}})
	if err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	if err := x.migrate(context.Background()); err != nil {
		return nil, fmt.Errorf("open index: %w", errors.Join(err, x.Close()))
	}
	return x, nil
}

// ReadIndex opens an existing database for reading only.
func ReadIndex(path string) (*Index, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	x, err := openIndex(path, url.Values{"mode": {"ro"}, "_pragma": {"busy_timeout(10000)", "query_only(1)"}})
	if err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	var version int
	if err := x.db.QueryRow("PRAGMA user_version").Scan(&version); err != nil || version != len(migrations) {
		return nil, fmt.Errorf("open index %s: version %d, this program reads %d: %w", path, version, len(migrations), errors.Join(err, x.Close()))
	}
	return x, nil
}

func openIndex(path string, q url.Values) (*Index, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	dsn := url.URL{Scheme: "file", Path: abs, RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(4)
	return &Index{db: db}, nil
}

func (x *Index) migrate(ctx context.Context) error {
	tx, err := x.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	var version int
	if err := tx.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if version > len(migrations) {
		return fmt.Errorf("version %d is newer than this program, which knows %d", version, len(migrations))
	}
	for v := version; v < len(migrations); v++ {
		if _, err := tx.Exec(migrations[v]); err != nil {
			return fmt.Errorf("migration %d: %w", v+1, err)
		}
	}
	if _, err := tx.Exec(fmt.Sprintf("PRAGMA user_version = %d", len(migrations))); err != nil {
		return err
	}
	return tx.Commit()
}

// Close closes the database.
func (x *Index) Close() error { return x.db.Close() }

// indexBatch is what one batch of events changes.
type indexBatch struct {
	sessions  []SessionRow
	decisions []*seqDecision
}

type seqDecision struct {
	seq    uint64
	queued bool // to be written with the batch at hand
	DecisionRow
}

// apply writes a batch in one transaction. Rows of events that were applied
// before change nothing, so a batch can be applied again.
func (x *Index) apply(ctx context.Context, b indexBatch) error {
	tx, err := x.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	put, err := tx.Prepare(`INSERT INTO sessions VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
		ON CONFLICT (id) DO UPDATE SET ended=excluded.ended, requests=excluded.requests, denials=excluded.denials,
			holds=excluded.holds, rows=excluded.rows, bytes=excluded.bytes, errors=excluded.errors, lost=excluded.lost,
			events=excluded.events, state=excluded.state, reason=excluded.reason, object=excluded.object,
			size=excluded.size, final_hash=excluded.final_hash
		WHERE sessions.state <> 'archived' AND (excluded.events > sessions.events
			OR (excluded.events = sessions.events AND excluded.state <> 'live'))`)
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	defer put.Close()
	for _, s := range b.sessions {
		if _, err := put.Exec(s.ID, nanos(s.Started), nanos(s.Ended), s.Gateway, s.Subject, s.Issuer, s.ClientID, s.Actor,
			s.Client, s.Application, s.Target, s.Protocol, s.Database, s.Role, s.Requests, s.Denials, s.Holds, s.Rows,
			s.Bytes, s.Errors, s.Lost, int64(s.Events), s.State, s.Reason, s.Object, s.Size, s.FinalHash); err != nil {
			return fmt.Errorf("index session %s: %w", s.ID, err)
		}
	}
	dec, err := tx.Prepare(`INSERT INTO decisions VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)
		ON CONFLICT DO UPDATE SET count = max(count, excluded.count), last = max(last, excluded.last)`)
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	defer dec.Close()
	for _, d := range b.decisions {
		if _, err := dec.Exec(d.Session, int64(d.seq), d.ID, int64(d.Turn), d.Stage, nanos(d.Time), d.Effect, d.Verb,
			jsonList(d.Reasons), jsonList(d.Tables), d.Text, d.Count, nanos(d.Last)); err != nil {
			return fmt.Errorf("index decision %s: %w", d.ID, err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return nil
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromNanos(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

func jsonList(list []string) string {
	if len(list) == 0 {
		return "[]"
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return "[]" // strings always marshal
	}
	return string(raw)
}
