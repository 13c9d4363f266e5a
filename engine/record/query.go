package record

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
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
	var where []string
	var args []any
	and := func(cond string, values ...any) {
		where = append(where, cond)
		args = append(args, values...)
	}
	if f.Subject != "" {
		and("subject = ?", f.Subject)
	}
	if f.Actor != "" {
		and("actor = ?", f.Actor)
	}
	if f.Target != "" {
		and("target = ?", f.Target)
	}
	if f.State != "" {
		and("state = ?", f.State)
	}
	if !f.Since.IsZero() {
		and("started >= ?", f.Since.UnixNano())
	}
	if !f.Until.IsZero() {
		and("started < ?", f.Until.UnixNano())
	}
	if f.Before != "" {
		and("(started, id) < (SELECT started, id FROM sessions WHERE id = ?)", f.Before)
	}
	var sub []string
	if f.Effect == EffectHeld {
		where = append(where, "holds > 0")
	} else if f.Effect != "" {
		sub = append(sub, "d.effect = ?")
		args = append(args, f.Effect)
	}
	if f.Text != "" {
		sub = append(sub, "instr(lower(d.text), lower(?)) > 0")
		args = append(args, f.Text)
	}
	if f.Table != "" {
		sub = append(sub, "EXISTS (SELECT 1 FROM json_each(d.tables) WHERE value = ?)")
		args = append(args, f.Table)
	}
	if f.Reason != "" {
		sub = append(sub, "EXISTS (SELECT 1 FROM json_each(d.reasons) WHERE value = ?)")
		args = append(args, f.Reason)
	}
	if sub != nil {
		where = append(where, "EXISTS (SELECT 1 FROM decisions d WHERE d.session = sessions.id AND "+strings.Join(sub, " AND ")+")")
	}
	query := "SELECT * FROM sessions"
	if where != nil {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	query += " ORDER BY started DESC, id DESC LIMIT ?"
	if f.Limit <= 0 {
		f.Limit = 100
	}
	rows, err := x.db.QueryContext(ctx, query, append(args, f.Limit)...)
	if err != nil {
		return nil, fmt.Errorf("search sessions: %w", err)
	}
	defer rows.Close()
	list := []SessionRow{}
	for rows.Next() {
		s, err := scanSession(rows)
		if err != nil {
			return nil, fmt.Errorf("search sessions: %w", err)
		}
		list = append(list, s)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("search sessions: %w", err)
	}
	return list, nil
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
	where := []string{"1"}
	var args []any
	order := "time DESC"
	if f.ID != "" {
		where, args = append(where, "id = ?"), append(args, f.ID)
	}
	if f.Session != "" {
		where, args = append(where, "session = ?"), append(args, f.Session)
		order = "seq"
	}
	if f.Effect != "" {
		where, args = append(where, "effect = ?"), append(args, f.Effect)
	}
	if !f.Since.IsZero() {
		where, args = append(where, "time >= ?"), append(args, f.Since.UnixNano())
	}
	if f.Limit <= 0 {
		f.Limit = 100
	}
	rows, err := x.db.QueryContext(ctx, "SELECT id, session, turn, stage, time, effect, verb, reasons, tables, text, count, last FROM decisions WHERE "+
		strings.Join(where, " AND ")+" ORDER BY "+order+" LIMIT ?", append(args, f.Limit)...)
	if err != nil {
		return nil, fmt.Errorf("search decisions: %w", err)
	}
	defer rows.Close()
	list := []DecisionRow{}
	for rows.Next() {
		var d DecisionRow
		var turn, at, last int64
		var reasons, tables string
		if err := rows.Scan(&d.ID, &d.Session, &turn, &d.Stage, &at, &d.Effect, &d.Verb, &reasons, &tables, &d.Text, &d.Count, &last); err != nil {
			return nil, fmt.Errorf("search decisions: %w", err)
		}
		d.Turn, d.Time, d.Last = uint64(turn), fromNanos(at), fromNanos(last)
		if err := errors.Join(json.Unmarshal([]byte(reasons), &d.Reasons), json.Unmarshal([]byte(tables), &d.Tables)); err != nil {
			return nil, fmt.Errorf("search decisions: %w", err)
		}
		list = append(list, d)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("search decisions: %w", err)
	}
	return list, nil
}
