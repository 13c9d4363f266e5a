package record

import (
	"context"
	"fmt"
	"time"
)

// targets returns the names of all targets that were ever recorded.
func (x *Index) targets(ctx context.Context) ([]string, error) {
	rows, err := x.db.QueryContext(ctx, "SELECT DISTINCT target FROM sessions")
	if err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	defer rows.Close()
	var list []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, fmt.Errorf("index: %w", err)
		}
		list = append(list, name)
	}
	return list, rows.Err()
}

// eachExpired calls fn for each archived session of a target that ended before
// a time, oldest first. fn may forget the session.
func (x *Index) eachExpired(ctx context.Context, target string, before time.Time, fn func(SessionRow) error) error {
	started, id := int64(-1), ""
	for {
		var where conditions
		where.and("target = ?", target) // "", where the opening is lost, is a target, too
		where.and("(started, id) > (?, ?) AND started < ?", started, id, nanos(before))
		where.and("state = 'archived' AND ended < ?", nanos(before))
		page, err := x.listSessions(ctx, where, "ORDER BY started, id LIMIT ?", sweepPage)
		if err != nil {
			return fmt.Errorf("index: %w", err)
		}
		for _, row := range page {
			if err := fn(row); err != nil {
				return err
			}
			started, id = nanos(row.Started), row.ID
		}
		if len(page) < sweepPage {
			return nil
		}
	}
}

// forget removes all that the index has of a session.
func (x *Index) forget(ctx context.Context, id string) error {
	tx, err := x.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	for _, table := range []string{"DELETE FROM decisions WHERE session = ?", "DELETE FROM sessions WHERE id = ?"} {
		if _, err := tx.Exec(table, id); err != nil {
			return fmt.Errorf("index: forget session %s: %w", id, err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("index: forget session %s: %w", id, err)
	}
	return nil
}
