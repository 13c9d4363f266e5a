package record

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
)

// journal calls each for every frame, in the stream's order.
func (v *verifier) journal(ctx context.Context, each func(seq uint64, f Frame)) error {
	if v.opts.Log != "" {
		return v.localLog(ctx, each)
	}
	if v.opts.Journal == nil {
		return nil
	}
	stream, err := v.opts.Journal.Stream(ctx, StreamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	state := stream.CachedInfo().State
	if state.Msgs == 0 {
		return nil
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxBytes(batchBytes))
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer messages.Stop()
	for {
		m, err := nextMessage(ctx, messages)
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			// A recorder at work may have removed what was still to come.
			info, err := stream.Info(ctx)
			if err != nil {
				return fmt.Errorf("journal: %w", err)
			}
			if info.State.Msgs == 0 || info.State.FirstSeq > state.LastSeq {
				return nil
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		f, err := DecodeFrame(m.Data())
		if err != nil {
			f = Frame{}
		}
		each(meta.Sequence.Stream, f)
		if meta.Sequence.Stream >= state.LastSeq || meta.NumPending == 0 {
			return nil
		}
	}
}

func nextMessage(ctx context.Context, messages jetstream.MessagesContext) (jetstream.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return messages.Next(jetstream.NextContext(ctx))
}

// localLog calls each for every frame of a local log that no recorder has.
func (v *verifier) localLog(ctx context.Context, each func(seq uint64, f Frame)) error {
	bases, err := listSegments(v.opts.Log)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	positions, err := readPositions(v.opts.Log)
	if err != nil || len(bases) == 0 {
		return err
	}
	last := bases[len(bases)-1]
	end, torn, err := scanSegment(v.opts.Log, last)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	if !torn {
		info, err := os.Stat(segmentPath(v.opts.Log, last))
		if err != nil {
			return fmt.Errorf("log: %w", err)
		}
		end = last + uint64(info.Size()) // what is damaged is reported
	}
	r := &logReader{dir: v.opts.Log, at: bases[0]}
	defer r.close()
	if len(positions) > 0 {
		floor := end
		for _, p := range positions {
			floor = min(floor, p.at)
		}
		r.at = max(r.at, floor)
	}
	for ctx.Err() == nil {
		data, err := r.next(end)
		var f Frame
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errRecord):
			at, _, err := r.skip(end)
			if err != nil {
				return fmt.Errorf("log: %w", err)
			}
			each(at, f)
			continue
		case err != nil:
			return fmt.Errorf("log: %w", err)
		}
		if f, err = DecodeFrame(data); err != nil {
			f = Frame{}
		}
		each(r.at, f)
	}
	return ctx.Err()
}

// survey notes which events the journal has, and which gaps it declares.
func (v *verifier) survey(_ uint64, f Frame) {
	_ = f.Each(func(e Event, _ []byte) error {
		if first, ok := v.wanted[e.Session]; !ok || e.Seq < first {
			v.wanted[e.Session] = e.Seq
		}
		if e.Kind == KindLoss {
			if loss, err := DecodeLoss(e.Body); err == nil {
				if v.gaps[e.Session] == nil {
					v.gaps[e.Session] = map[uint64]Gap{}
				}
				for _, g := range loss.Gaps {
					v.gaps[e.Session][g.Last] = g
				}
			}
		}
		return nil
	})
}

// readJournal verifies the frames, and the sessions whose end is in them.
func (v *verifier) readJournal(ctx context.Context) error {
	frames := map[ulid.ULID]Frame{}
	sessions := map[ulid.ULID]*journalled{}
	err := v.journal(ctx, func(at uint64, f Frame) {
		place := fmt.Sprintf("journal message %d", at)
		v.report.Frames++
		if f.Seq == 0 {
			v.problem(Problem{Place: place, Text: "it is not a frame"})
			return
		}
		place = fmt.Sprintf("journal message %d, frame %d", at, f.Seq)
		if last, ok := frames[f.Epoch]; ok {
			switch {
			case f.Seq <= last.Seq:
				v.problem(Problem{Place: place, Text: fmt.Sprintf("it comes after frame %d", last.Seq)})
			case f.Seq == last.Seq+1 && f.Prev != last.Hash:
				v.problem(Problem{Place: place, Text: fmt.Sprintf("it does not follow from frame %d: that one was changed, or this one", last.Seq)})
			case f.Seq > last.Seq+1+f.Unacked:
				v.problem(Problem{Place: place, Text: fmt.Sprintf("frames %d to %d are missing", last.Seq+1, f.Seq-1)})
			}
		}
		frames[f.Epoch] = Frame{FrameHead: f.FrameHead, Hash: f.Hash}
		v.readFrame(f, place, sessions)
	})
	for id, s := range sessions {
		if v.wants(id) && s.report {
			v.enter(id, "journal", s.f, s.problems)
		}
	}
	return err
}

// journalled is a session that the journal has events of.
type journalled struct {
	f        *follower
	problems int
	skip     uint64 // events up to here are verified elsewhere
	report   bool   // its end is in the journal
	lost     bool   // its beginning is nowhere, so hashes cannot be followed
}

func (v *verifier) readFrame(f Frame, place string, sessions map[ulid.ULID]*journalled) {
	var hashes []byte
	exact := true
	err := f.Each(func(e Event, encoded []byte) error {
		s := sessions[e.Session]
		if s == nil {
			s = v.startJournalled(e, place)
			sessions[e.Session] = s
		}
		if s.f.closed != nil && e.Seq <= s.f.seq {
			return nil
		}
		before := s.f.events
		s.f.next(e, encoded)
		if s.f.events > before && e.Seq <= s.skip {
			s.f.events = before // counted where it was verified
		}
		if e.Seq > s.skip {
			s.report = true
		}
		exact = exact && !s.f.broken && !s.lost
		hashes = append(hashes, s.f.head[:]...)
		return nil
	})
	if err != nil {
		v.problem(Problem{Place: place, Text: err.Error()})
		return
	}
	if exact && hashOf(hashes) != f.Hashes {
		v.problem(Problem{Place: place, Text: "its events are not those that it was sealed with"})
	}
}

// startJournalled begins a session where the archive or the spool left it.
func (v *verifier) startJournalled(e Event, place string) *journalled {
	s := &journalled{}
	s.f = newFollower(e.Session, v.opts.Key, v.gaps[e.Session], func(seq uint64, err error) {
		s.problems++
		if v.wants(e.Session) {
			v.problem(Problem{Session: e.Session.String(), Event: seq, Place: place, Text: err.Error()})
		}
	})
	s.skip = v.lasts[e.Session]
	if e.Seq > 1 {
		s.f.seq = e.Seq - 1
		gap, declared := v.gaps[e.Session][e.Seq-1]
		if head, ok := v.heads[e.Session]; ok {
			s.f.head = head
		} else if declared && gap.First <= s.skip+1 {
			s.f.head = gap.After
			s.f.losses = e.Seq - 1 - s.skip
		} else {
			s.lost, s.f.broken = true, true
			if v.wants(e.Session) {
				s.f.report(e.Seq, fmt.Errorf("events %d to %d are nowhere", s.skip+1, e.Seq-1))
			}
		}
	}
	return s
}
