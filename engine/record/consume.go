package record

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/oklog/ulid/v2"
)

// run takes batches until the context ends.
func (r *Recorder) run(ctx context.Context) {
	// Sessions that ended before the last stop, and what the index may lack.
	r.settle(ctx, false)
	for ctx.Err() == nil {
		r.forgetArchived()
		var until time.Time
		if r.unpurged() {
			// A full journal takes nothing, so that nothing might ever come.
			until = r.purgeAt
		}
		if r.acknowledged < r.reached.Load() && (until.IsZero() || r.syncAt.Before(until)) {
			until = r.syncAt
		}
		got, err := r.feed.gather(ctx, until, func(m message) { r.takeMessage(ctx, m) })
		if got {
			r.settle(ctx, true)
		}
		if r.acknowledged < r.reached.Load() && !time.Now().Before(r.syncAt) {
			r.acknowledge(ctx)
		}
		if r.unpurged() {
			r.purge(ctx)
		}
		switch {
		case ctx.Err() != nil:
		case err != nil:
			r.setFailure(err)
			pause(ctx, retryEvery)
		default:
			r.setFailure(nil)
		}
	}
	r.feed.close()
}

// unpurged: the journal holds what the recorder is done with.
func (r *Recorder) unpurged() bool { return r.acknowledged > r.purged }

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// rawEvent is an event and its canonical bytes.
type rawEvent struct {
	Event
	encoded []byte
}

// takeMessage takes one frame into memory. A message that is no frame is kept
// aside: it is evidence, and must not stop the others.
func (r *Recorder) takeMessage(ctx context.Context, m message) {
	f, err := DecodeFrame(m.data)
	if m.damaged {
		err = errRecord
	}
	if err == nil && m.gateway != "" && f.Gateway != m.gateway {
		err = fmt.Errorf("frame of gateway %q among those of %s", f.Gateway, m.gateway)
	}
	if err == nil {
		// All or nothing: half a frame would leave a gap that nobody declares.
		r.events = r.events[:0]
		err = f.Each(func(e Event, encoded []byte) error {
			r.events = append(r.events, rawEvent{e, encoded})
			return nil
		})
	}
	if err != nil {
		r.log.WithError(err).WithField("sequence", m.seq).Error("the journal holds a damaged frame; it is kept aside")
		r.late[fmt.Sprintf("damaged/%d.frame", m.seq)] = bytes.Clone(m.data)
		return
	}
	r.takeFrame(ctx, f, m.data)
}

// takeFrame takes the frame's events, which are in r.events.
func (r *Recorder) takeFrame(ctx context.Context, f Frame, raw []byte) {
	if newest := r.epochs[f.Gateway]; newest.Compare(f.Epoch) < 0 {
		r.epochs[f.Gateway] = f.Epoch
		r.bury(ctx, f)
		delete(r.frames, newest)
	}
	// A frame that is delivered again is taken again: its events are told apart
	// one by one.
	if last, known := r.frames[f.Epoch]; known && f.Seq > last+1+f.Unacked {
		r.log.WithField("gateway", f.Gateway).Errorf("frames %d to %d are missing in the journal", last+1, f.Seq-1)
	}
	r.frames[f.Epoch] = max(r.frames[f.Epoch], f.Seq)
	for i := range r.events {
		r.takeEvent(ctx, f, r.events[i].Event, r.events[i].encoded, raw)
	}
	clear(r.events)
}

func (r *Recorder) takeEvent(ctx context.Context, f Frame, e Event, encoded, raw []byte) {
	s := r.live[e.Session]
	if s == nil {
		row, known := r.archived(ctx, e.Session)
		if known {
			r.afterEnd(f, e, row, raw)
			return
		}
		s = newSession(newSpoolFile(r.opts.Dir, e.Session, f.Gateway, f.Epoch))
		r.live[e.Session] = s
	}
	if s.ended {
		r.afterEnd(f, e, s.tally.row, raw)
		return
	}
	if e.Seq <= s.seq {
		return // delivered again
	}
	at := s.size + int64(len(s.tail))
	if e.Seq != s.seq+1 {
		if len(s.pending) == 0 {
			s.gapAt, s.gapSeq = at, s.seq
		}
		s.pending[e.Seq-1] = true
	}
	s.add(e.Seq, encoded)
	s.follow(e, at)
	if row := s.tally.add(e); row != nil && !row.queued {
		row.queued = true
		r.rows = append(r.rows, row)
	}
	r.touched[s] = struct{}{}
}

// keepLate keeps a frame that has events of a session that had ended. It does
// happen when two gateways share a name.
func (r *Recorder) keepLate(f Frame, raw []byte) {
	key := fmt.Sprintf("late/%s-%s-%d.frame", f.Gateway, f.Epoch, f.Seq)
	if _, seen := r.late[key]; !seen {
		r.log.WithField("gateway", f.Gateway).Errorf("frame %d of epoch %s came after its sessions were closed; it is kept aside: do two gateways have the same name?", f.Seq, f.Epoch)
	}
	r.late[key] = bytes.Clone(raw)
}

// afterEnd takes an event of a session that has ended: one that is delivered
// again, or one that should not be. The close of a dead gateway's session is
// not in the journal, so whatever has its number there is of the second kind.
func (r *Recorder) afterEnd(f Frame, e Event, row SessionRow, raw []byte) {
	if e.Seq > row.Events || (e.Seq == row.Events && row.Reason == ReasonGatewayDied) {
		r.keepLate(f, raw)
	}
}

// archived returns the index's row of a session that the archive has.
func (r *Recorder) archived(ctx context.Context, id ulid.ULID) (SessionRow, bool) {
	for {
		row, err := r.opts.Index.Session(ctx, id.String())
		switch {
		case err == nil:
			return row, row.State == StateArchived
		case errors.Is(err, ErrNoSession):
			return SessionRow{}, false
		}
		if ctx.Err() != nil {
			return SessionRow{}, false // nothing of this batch will be acknowledged
		}
		r.setFailure(err)
		pause(ctx, retryEvery)
	}
}

// bury closes the sessions that earlier runs of a gateway left open. The
// receipt depends on the journal alone, so that every recorder writes the same.
func (r *Recorder) bury(ctx context.Context, f Frame) {
	for _, s := range r.live {
		if s.ended || s.gateway != f.Gateway || s.epoch.Compare(f.Epoch) >= 0 {
			continue
		}
		if err := r.retry(ctx, func() error { return r.buryOne(s, f.Time) }); err != nil {
			return
		}
		r.touched[s] = struct{}{}
		r.log.WithField("session", s.session).Warn("its gateway died; the session is closed")
	}
}

func (r *Recorder) buryOne(s *session, at int64) error {
	if err := s.flush(); err != nil {
		return err
	}
	if s.gapAt >= 0 {
		// The gateway died before it could declare what it lost. What came
		// after the gap was never acknowledged and cannot be verified.
		if err := s.truncate(s.gapAt, s.gapSeq); err != nil {
			return err
		}
		s.gapAt, s.pending = -1, map[uint64]bool{}
	}
	var fault error
	follower := follow(s.session, nil, 0, s.source, func(_ uint64, err error) { fault = errors.Join(fault, err) })
	if fault != nil {
		r.log.WithError(fault).WithField("session", s.session).Error("the spool is damaged")
	}
	receipt := Close{
		Reason: ReasonGatewayDied, Events: s.seq + 1, Head: follower.head, Time: at,
		Gateway: s.gateway, Epoch: s.epoch,
	}
	if follower.open != nil {
		receipt.Number = follower.open.Number
	}
	receipt.sign(s.session, r.opts.Key)
	e := Event{
		Session: s.session, Seq: s.seq + 1, Prev: follower.head.check(), Time: at, Kind: KindClose, Body: receipt.Encode(nil),
	}
	s.add(e.Seq, e.Encode(nil))
	s.tally.add(e)
	s.ended = true
	return nil
}

// retry calls do until it succeeds or the context ends.
func (r *Recorder) retry(ctx context.Context, do func() error) error {
	for {
		err := do()
		if err == nil {
			r.setFailure(nil)
			return nil
		}
		r.setFailure(err)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		pause(ctx, retryEvery)
	}
}

// settle writes what was taken, in the order spool, index, and hands ended
// sessions to the archive. It does not give up. taken: it came from the journal.
func (r *Recorder) settle(ctx context.Context, taken bool) {
	batch := indexBatch{decisions: r.rows}
	for s := range r.touched {
		batch.sessions = append(batch.sessions, s.tally.row)
	}
	err := r.retry(ctx, func() error {
		for s := range r.touched {
			if err := s.flush(); err != nil {
				return err
			}
			r.unsynced[s] = struct{}{}
		}
		if err := r.flushLate(); err != nil {
			return err
		}
		return r.opts.Index.apply(ctx, batch)
	})
	if err != nil {
		return
	}
	for s := range r.touched {
		if s.ended && !s.queued {
			s.queued = true
			r.waiting.Add(1)
			select {
			case r.uploads <- s:
			case <-ctx.Done():
				return
			}
		}
	}
	clear(r.touched)
	for _, row := range r.rows {
		row.queued = false
	}
	clear(r.rows)
	r.rows = r.rows[:0]
	if taken {
		r.reached.Store(r.feed.position())
	}
}

// acknowledge brings everything to the disk and tells the journal.
func (r *Recorder) acknowledge(ctx context.Context) {
	r.syncAt = time.Now().Add(syncEvery)
	err := r.retry(ctx, func() error {
		for s := range r.unsynced {
			if err := s.sync(); err != nil {
				return err
			}
			delete(r.unsynced, s)
		}
		return syncPath(spoolDir(r.opts.Dir))
	})
	if err != nil {
		return
	}
	position := r.reached.Load()
	if err := r.feed.acknowledge(ctx, position); err != nil {
		// Nothing is lost: it will be delivered again, and taken for known.
		r.log.WithError(err).Warn("the journal did not take an acknowledgement")
		return
	}
	r.acknowledged = position
}

func (r *Recorder) flushLate() error {
	for key, raw := range r.late {
		path := filepath.Join(r.opts.Dir, filepath.FromSlash(key))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		if err := writeFile(path, raw, 0o600); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		delete(r.late, key)
	}
	return nil
}

// forgetArchived drops the sessions that the uploader is done with.
func (r *Recorder) forgetArchived() {
	for {
		select {
		case s := <-r.settled:
			delete(r.live, s.session)
		default:
			return
		}
	}
}

// purge empties the journal up to where every recorder is. It is not urgent:
// an error only leaves it for the next time.
func (r *Recorder) purge(ctx context.Context) {
	if time.Now().Before(r.purgeAt) {
		return
	}
	r.purgeAt = time.Now().Add(purgeEvery)
	if err := r.feed.trim(ctx, r.acknowledged); err == nil {
		r.purged = r.acknowledged
	}
}
