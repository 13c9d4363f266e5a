package record

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// DecisionSearch selects decisions across sessions. Zero fields select all.
type DecisionSearch struct {
	Effect  string
	Subject string
	Actor   string
	Target  string
	Verb    string
	Table   string // that the statement touches
	Tables  string // exactly these, as a JSON list
	Reason  string // reason id
	Text    string // part of the statement, without regard to case (ASCII)
	Since   time.Time
	Until   time.Time
	Before  string // page key: DecisionHit.Key of the last one of the page before
	Limit   int    // 100 when 0
}

// DecisionHit is a decision with whose session it was made in.
type DecisionHit struct {
	DecisionRow
	Subject, Actor, Target, Protocol string
	seq                              int64
}

// Who is who acted: the agent, and for whom where that is somebody else.
func (d DecisionHit) Who() string {
	if d.Actor == "" || d.Actor == d.Subject {
		return d.Subject
	}
	return d.Actor + " for " + d.Subject
}

// Key names the decision's place in a list.
func (d DecisionHit) Key() string {
	return strconv.FormatInt(d.Time.UnixNano(), 36) + "." + d.Session + "." + strconv.FormatInt(d.seq, 36)
}

// ErrPageKey says that a page key was not one.
var ErrPageKey = errors.New("the page does not exist")

// SearchDecisions returns the decisions that a search selects, the newest
// first.
func (x *Index) SearchDecisions(ctx context.Context, f DecisionSearch) ([]DecisionHit, error) {
	where := []string{"1"}
	var args []any
	and := func(cond string, values ...any) {
		where = append(where, cond)
		args = append(args, values...)
	}
	for _, c := range []struct{ column, value string }{
		{"d.effect", f.Effect}, {"d.verb", f.Verb}, {"d.tables", f.Tables}, {"s.subject", f.Subject}, {"s.actor", f.Actor}, {"s.target", f.Target},
	} {
		if c.value != "" {
			and(c.column+" = ?", c.value)
		}
	}
	if f.Table != "" {
		and("EXISTS (SELECT 1 FROM json_each(d.tables) WHERE value = ?)", f.Table)
	}
	if f.Reason != "" {
		and("EXISTS (SELECT 1 FROM json_each(d.reasons) WHERE value = ?)", f.Reason)
	}
	if f.Text != "" {
		and("instr(lower(d.text), lower(?)) > 0", f.Text)
	}
	if !f.Since.IsZero() {
		and("d.time >= ?", f.Since.UnixNano())
	}
	if !f.Until.IsZero() {
		and("d.time < ?", f.Until.UnixNano())
	}
	if f.Before != "" {
		at, rest, _ := strings.Cut(f.Before, ".")
		session, place, _ := strings.Cut(rest, ".")
		nanos, err := strconv.ParseInt(at, 36, 64)
		seq, err2 := strconv.ParseInt(place, 36, 64)
		if err != nil || err2 != nil {
			return nil, ErrPageKey
		}
		and("(d.time, d.session, d.seq) < (?, ?, ?)", nanos, session, seq)
	}
	if f.Limit <= 0 {
		f.Limit = 100
	}
	rows, err := x.db.QueryContext(ctx, `SELECT d.seq, d.id, d.session, d.turn, d.stage, d.time, d.effect, d.verb, d.reasons, d.tables, d.text, d.count, d.last,
			s.subject, s.actor, s.target, s.protocol
		FROM decisions d INDEXED BY decisions_time CROSS JOIN sessions s ON s.id = d.session
		WHERE `+strings.Join(where, " AND ")+" ORDER BY d.time DESC, d.session DESC, d.seq DESC LIMIT ?", append(args, f.Limit)...)
	if err != nil {
		return nil, fmt.Errorf("search decisions: %w", err)
	}
	defer rows.Close()
	list := []DecisionHit{}
	for rows.Next() {
		var d DecisionHit
		var turn, at, last int64
		var reasons, tables string
		if err := rows.Scan(&d.seq, &d.ID, &d.Session, &turn, &d.Stage, &at, &d.Effect, &d.Verb, &reasons, &tables, &d.Text, &d.Count, &last,
			&d.Subject, &d.Actor, &d.Target, &d.Protocol); err != nil {
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

// Pulse changes when the index does: with each new decision and session.
func (x *Index) Pulse(ctx context.Context) (string, error) {
	var version int64
	if err := x.db.QueryRowContext(ctx, "SELECT coalesce(max(time), 0) FROM decisions").Scan(&version); err != nil {
		return "", fmt.Errorf("index: %w", err)
	}
	var started int64
	if err := x.db.QueryRowContext(ctx, "SELECT coalesce(max(started), 0) FROM sessions").Scan(&started); err != nil {
		return "", fmt.Errorf("index: %w", err)
	}
	return fmt.Sprintf("%d.%d", version, started), nil
}
