package record

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"gocloud.dev/blob"
)

// reindexRows is how many decisions are written to the index at a time.
const reindexRows = 4096

// Reindexed is what a Reindex did.
type Reindexed struct {
	Sessions int       // whose rows were made
	Known    int       // that the index had already
	Problems []Problem // recordings that could not be read to their end
}

// Reindex makes the rows that the index lacks of every recording in the bucket:
// it has nothing of its own. A recording that is damaged is indexed as far as
// it can be read, and reported. It may run beside a recorder, and may be
// ended at any time and begun again.
func Reindex(ctx context.Context, bucket *blob.Bucket, index *Index) (Reindexed, error) {
	var done Reindexed
	a := OpenArchive(bucket, "")
	err := a.Objects(ctx, func(o Object) error {
		if o.Key != ObjectKey(o.Session) {
			return nil // a second recording of a session; Verify reports it
		}
		switch row, err := index.Session(ctx, o.Session.String()); {
		case err == nil && row.State == StateArchived:
			done.Known++
		case err != nil && !errors.Is(err, ErrNoSession):
			return err
		default:
			problem, err := a.reindex(ctx, o, index)
			if err != nil {
				return err
			}
			if problem != nil {
				done.Problems = append(done.Problems, Problem{Session: o.Session.String(), Place: o.Key, Text: problem.Error()})
			}
			done.Sessions++
		}
		return nil
	})
	if err != nil {
		return done, fmt.Errorf("reindex: %w", err)
	}
	return done, nil
}

// reindex makes the rows of one recording. What is wrong with the recording is
// the problem, what is wrong with the index the error.
func (a *Archive) reindex(ctx context.Context, o Object, index *Index) (problem, err error) {
	r, end, err := a.open(ctx, o.Key)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return err, nil
	}
	defer func() { problem = errors.Join(problem, r.Close()) }()
	t := newTally(o.Session.String())
	var rows []*seqDecision
	write := func(sessions ...SessionRow) error {
		err := index.apply(ctx, indexBatch{sessions: sessions, decisions: rows})
		for _, row := range rows {
			row.queued = false
		}
		rows = rows[:0]
		return err
	}
	for {
		e, _, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil && e.Session != o.Session {
			err = fmt.Errorf("it has an event of session %s", e.Session)
		}
		if err != nil {
			problem = err
			break
		}
		if row := t.add(e); row != nil && !row.queued {
			row.queued = true
			rows = append(rows, row)
		}
		if len(rows) >= reindexRows {
			if err := write(); err != nil {
				return nil, err
			}
		}
	}
	t.row.State, t.row.Object, t.row.Size, t.row.FinalHash = StateArchived, o.Key, o.Size, hex.EncodeToString(end.Head[:])
	return problem, write(t.row)
}
