package record

import (
	"context"
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
	var where conditions
	where.equal("d.effect", f.Effect)
	where.equal("d.verb", f.Verb)
	where.equal("d.tables", f.Tables)
	where.equal("s.subject", f.Subject)
	where.equal("s.actor", f.Actor)
	where.equal("s.target", f.Target)
	where.about(f.Text, f.Table, f.Reason)
	where.within("d.time", f.Since, f.Until)
	if f.Before != "" {
		at, rest, _ := strings.Cut(f.Before, ".")
		session, place, _ := strings.Cut(rest, ".")
		nanos, err := strconv.ParseInt(at, 36, 64)
		seq, err2 := strconv.ParseInt(place, 36, 64)
		if err != nil || err2 != nil {
			return nil, ErrPageKey
		}
		where.and("(d.time, d.session, d.seq) < (?, ?, ?)", nanos, session, seq)
	}
	rows, err := x.db.QueryContext(ctx, "SELECT "+decisionColumns+`, d.seq, s.subject, s.actor, s.target, s.protocol
		FROM decisions d INDEXED BY decisions_time CROSS JOIN sessions s ON s.id = d.session
		WHERE `+where.String()+" ORDER BY d.time DESC, d.session DESC, d.seq DESC LIMIT ?", append(where.args, limit(f.Limit))...)
	if err != nil {
		return nil, fmt.Errorf("search decisions: %w", err)
	}
	defer rows.Close()
	list := []DecisionHit{}
	for rows.Next() {
		var d DecisionHit
		if err := scanDecisionRow(rows, &d.DecisionRow, &d.seq, &d.Subject, &d.Actor, &d.Target, &d.Protocol); err != nil {
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
