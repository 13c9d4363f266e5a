package record

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/oklog/ulid/v2"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

const (
	// sweepEvery is how often a recorder looks for recordings to delete.
	sweepEvery = time.Hour
	// sweepPage is how many expired sessions are read from the index at a time.
	sweepPage = 256
)

// Retention says how long recordings are kept, from the end of the session. The
// first rule whose pattern matches a target counts.
type Retention struct {
	Rules []RetentionRule
	Keep  time.Duration // of targets that no rule names; 0 for ever
}

// RetentionRule is the retention of some targets.
type RetentionRule struct {
	Target string // a name or a glob, as path.Match takes it
	Keep   time.Duration
}

// Of returns how long recordings of a target are kept, 0 for ever.
func (r Retention) Of(target string) time.Duration {
	for _, rule := range r.Rules {
		if ok, err := path.Match(rule.Target, target); ok && err == nil {
			return rule.Keep
		}
	}
	return r.Keep
}

func (r Retention) none() bool { return r.Keep == 0 && len(r.Rules) == 0 }

// SweepOptions says what Sweep works on. All but Settle are needed.
type SweepOptions struct {
	Bucket    *blob.Bucket
	Settle    func(key string) error // see RecorderOptions
	Index     *Index
	Key       ed25519.PrivateKey // signs tombstones
	Recorder  string             // whose chain of tombstones goes on
	Retention Retention
	Now       time.Time
}

// Swept is what a Sweep did.
type Swept struct {
	Deleted int
	Held    int // expired, and kept by a legal hold
}

// Sweep deletes the recordings whose time is over, with what the index has of
// them. Each leaves a signed tombstone, which is written first: a sweep that is
// cut short at any place goes on in the next. One at a time may run for a
// recorder's name.
func Sweep(ctx context.Context, opts SweepOptions) (Swept, error) {
	var done Swept
	if opts.Retention.none() {
		return done, nil
	}
	if err := opts.sweep(ctx, &done); err != nil {
		return done, fmt.Errorf("retention: %w", err)
	}
	return done, nil
}

func (o *SweepOptions) sweep(ctx context.Context, done *Swept) error {
	chain, err := lastTombstone(ctx, o.Bucket, o.Recorder)
	if err != nil {
		return err
	}
	targets, err := o.Index.targets(ctx)
	if err != nil {
		return err
	}
	for _, target := range targets {
		keep := o.Retention.Of(target)
		if keep <= 0 {
			continue
		}
		err := o.Index.eachExpired(ctx, target, o.Now.Add(-keep), func(row SessionRow) error {
			id, err := ulid.ParseStrict(row.ID)
			if err != nil {
				return err
			}
			// Asked for each, at the last moment: a hold that was placed counts.
			held, err := o.Bucket.Exists(ctx, legalHoldKey(id))
			if err != nil {
				return fmt.Errorf("legal hold: %w", err)
			}
			if held {
				done.Held++
				return nil
			}
			done.Deleted++
			return o.delete(ctx, &chain, id, row, keep)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// delete deletes one recording.
func (o *SweepOptions) delete(ctx context.Context, chain *chainEnd, id ulid.ULID, row SessionRow, keep time.Duration) error {
	if chain.Session != id { // else the last sweep was cut short behind the tombstone
		t := Tombstone{
			Seq: chain.Seq + 1, Prev: chain.sum, Session: id, Gateway: row.Gateway, Target: row.Target, Events: row.Events,
			Started: nanos(row.Started), Ended: nanos(row.Ended), Deleted: max(o.Now.UnixNano(), chain.Deleted), Reason: "retention: " + keep.String(),
		}
		if err := o.describe(ctx, &t, row.Object); err != nil {
			return err
		}
		t.sign(o.Key)
		raw := t.Encode(nil)
		key := tombstoneKey(o.Recorder, t)
		if err := o.Bucket.WriteAll(ctx, key, raw, &blob.WriterOptions{ContentType: "application/cbor"}); err != nil {
			return fmt.Errorf("tombstone: %w", err)
		}
		if o.Settle != nil {
			if err := o.Settle(key); err != nil {
				return fmt.Errorf("tombstone: %w", err)
			}
		}
		*chain = chainEnd{Tombstone: t, sum: sha256.Sum256(raw)}
	}
	if err := o.Bucket.Delete(ctx, row.Object); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return fmt.Errorf("delete %s: %w", row.Object, err)
	}
	return o.Index.forget(ctx, row.ID)
}

// describe takes from the recording what the index does not have. A recording
// that is gone or damaged is no reason to keep it for ever.
func (o *SweepOptions) describe(ctx context.Context, t *Tombstone, object string) error {
	r, end, err := OpenArchive(o.Bucket, "").open(ctx, object)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if gcerrors.Code(err) != gcerrors.NotFound && !errors.Is(err, errTrailer) {
			return err // the store does not answer
		}
		t.Reason += "; it could not be read: " + err.Error()
		return nil
	}
	defer r.Close()
	t.Events, t.Head = end.Events, end.Head
	for {
		e, _, err := r.Next()
		if err != nil {
			break
		}
		if e.Kind == KindOpen {
			if open, err := DecodeOpen(e.Body); err == nil {
				t.Gateway, t.Epoch, t.Number = open.Gateway, open.Epoch, open.Number
				break
			}
		}
		if e.Kind == KindClose {
			if c, err := DecodeClose(e.Body); err == nil {
				t.Gateway, t.Epoch, t.Number = c.Gateway, c.Epoch, c.Number
			}
		}
	}
	return ctx.Err()
}

// sweep deletes what has expired, now and then.
func (r *Recorder) sweep(ctx context.Context) {
	for ctx.Err() == nil {
		done, err := Sweep(ctx, SweepOptions{
			Bucket: r.opts.Bucket, Settle: r.opts.Settle, Index: r.opts.Index, Key: r.opts.Key,
			Recorder: r.opts.Name, Retention: r.opts.Retention, Now: time.Now(),
		})
		switch {
		case ctx.Err() != nil:
		case err != nil:
			r.log.WithError(err).Error("recordings could not be deleted; they are kept until the next try")
		case done.Deleted > 0:
			r.log.WithField("deleted", done.Deleted).WithField("held", done.Held).Info("recordings were deleted by retention")
		}
		pause(ctx, sweepEvery)
	}
}
