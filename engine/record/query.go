package record

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// ErrNoSession says that the index or archive has no such session.
var ErrNoSession = errors.New("no such session")

// SessionFilter selects sessions. Zero fields select all.
type SessionFilter struct {
	Subject string
	Actor   string
	Target  string
	Effect  string // sessions with a decision of this effect, or EffectHeld
	State   string
	Since   time.Time
	Until   time.Time
	Text    string // part of a statement, without regard to case (ASCII)
	Table   string // that a statement touches
	Reason  string // reason id of a decision
	Before  string // page key: the id that ended the page before
	Limit   int    // 100 when 0
}

// EffectHeld selects sessions with a request that was held for approval. What
// is decided in the end is recorded as an allow or a deny.
const EffectHeld = "held"

// Sessions returns the sessions that a filter selects, newest first.
func (x *Index) Sessions(ctx context.Context, f SessionFilter) ([]SessionRow, error) {
	var where, decision conditions
	where.equal("subject", f.Subject)
	where.equal("actor", f.Actor)
	where.equal("target", f.Target)
	where.equal("state", f.State)
	where.within("started", f.Since, f.Until)
	if f.Before != "" {
		where.and("(started, id) < (SELECT started, id FROM sessions WHERE id = ?)", f.Before)
	}
	if f.Effect == EffectHeld {
		where.and("holds > 0")
	} else {
		decision.equal("d.effect", f.Effect)
	}
	decision.about(f.Text, f.Table, f.Reason)
	if len(decision.all) > 0 {
		where.and("EXISTS (SELECT 1 FROM decisions d WHERE d.session = sessions.id AND "+decision.String()+")", decision.args...)
	}
	list, err := x.listSessions(ctx, where, "ORDER BY started DESC, id DESC LIMIT ?", limit(f.Limit))
	if err != nil {
		return nil, fmt.Errorf("search sessions: %w", err)
	}
	return list, nil
}

// listSessions returns the sessions that conditions select. rest, with its
// values, stands behind them.
func (x *Index) listSessions(ctx context.Context, where conditions, rest string, values ...any) ([]SessionRow, error) {
	rows, err := x.db.QueryContext(ctx, "SELECT * FROM sessions WHERE "+where.String()+" "+rest, append(where.args, values...)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []SessionRow{}
	for rows.Next() {
		s, err := scanSession(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, rows.Err()
}

// Session returns one session, or ErrNoSession.
func (x *Index) Session(ctx context.Context, id string) (SessionRow, error) {
	s, err := scanSession(x.db.QueryRowContext(ctx, "SELECT * FROM sessions WHERE id = ?", id))
	if errors.Is(err, sql.ErrNoRows) {
		return SessionRow{}, fmt.Errorf("session %s: %w", id, ErrNoSession)
	}
	if err != nil {
		return SessionRow{}, fmt.Errorf("session %s: %w", id, err)
	}
	return s, nil
}

func scanSession(row interface{ Scan(...any) error }) (SessionRow, error) {
	var s SessionRow
	var started, ended, events int64
	err := row.Scan(&s.ID, &started, &ended, &s.Gateway, &s.Subject, &s.Issuer, &s.ClientID, &s.Actor,
		&s.Client, &s.Application, &s.Target, &s.Protocol, &s.Database, &s.Role, &s.Requests, &s.Denials, &s.Holds, &s.Rows,
		&s.Bytes, &s.Errors, &s.Lost, &events, &s.State, &s.Reason, &s.Object, &s.Size, &s.FinalHash)
	s.Started, s.Ended, s.Events = fromNanos(started), fromNanos(ended), uint64(events)
	return s, err
}

// DecisionFilter selects decisions. Zero fields select all.
type DecisionFilter struct {
	ID      string
	Session string
	Effect  string
	Since   time.Time
	Limit   int // 100 when 0
}

// Decisions returns the decisions that a filter selects: those of one session
// in order, those of many newest first.
func (x *Index) Decisions(ctx context.Context, f DecisionFilter) ([]DecisionRow, error) {
	var where conditions
	where.equal("d.id", f.ID)
	where.equal("d.session", f.Session)
	where.equal("d.effect", f.Effect)
	where.within("d.time", f.Since, time.Time{})
	order := "d.time DESC"
	if f.Session != "" {
		order = "d.seq"
	}
	rows, err := x.db.QueryContext(ctx, "SELECT "+decisionColumns+" FROM decisions d WHERE "+where.String()+" ORDER BY "+order+" LIMIT ?",
		append(where.args, limit(f.Limit))...)
	if err != nil {
		return nil, fmt.Errorf("search decisions: %w", err)
	}
	defer rows.Close()
	list := []DecisionRow{}
	for rows.Next() {
		var d DecisionRow
		if err := scanDecisionRow(rows, &d); err != nil {
			return nil, fmt.Errorf("search decisions: %w", err)
		}
		list = append(list, d)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("search decisions: %w", err)
	}
	return list, nil
}

// decisionColumns are what scanDecisionRow reads.
const decisionColumns = "d.id, d.session, d.turn, d.stage, d.time, d.effect, d.verb, d.reasons, d.tables, d.text, d.count, d.last"

// scanDecisionRow reads decisionColumns, and what was selected behind them.
func scanDecisionRow(row interface{ Scan(...any) error }, d *DecisionRow, more ...any) error {
	var turn, at, last int64
	var reasons, tables string
	err := row.Scan(append([]any{
		&d.ID, &d.Session, &turn, &d.Stage, &at, &d.Effect, &d.Verb, &reasons, &tables, &d.Text, &d.Count, &last,
	}, more...)...)
	if err != nil {
		return err
	}
	d.Turn, d.Time, d.Last = uint64(turn), fromNanos(at), fromNanos(last)
	return errors.Join(json.Unmarshal([]byte(reasons), &d.Reasons), json.Unmarshal([]byte(tables), &d.Tables))
}
