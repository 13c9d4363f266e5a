package record

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"
)

// askTimeout bounds one question to JetStream, which may be lost with the
// connection. Whoever asks asks again.
const askTimeout = 10 * time.Second

// streamFeed reads a JetStream stream by a durable consumer.
type streamFeed struct {
	js        jetstream.JetStream
	log       logrus.FieldLogger
	stream    jetstream.Stream
	consumer  jetstream.Consumer
	messages  jetstream.MessagesContext // nil until it is needed
	batch     []jetstream.Msg
	at        uint64        // stream sequence of the last message taken
	newest    jetstream.Msg // the last that was taken, with all before it: it may be acknowledged
	newestSeq uint64
}

func newStreamFeed(ctx context.Context, js jetstream.JetStream, recorder, instance string, takeover bool, log logrus.FieldLogger) (*streamFeed, error) {
	stream, err := js.Stream(ctx, StreamName)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", StreamName, err)
	}
	f := &streamFeed{js: js, log: log, stream: stream}
	name := consumerPrefix + recorder
	if old, err := stream.Consumer(ctx, name); err == nil {
		owner := old.CachedInfo().Config.Metadata[instanceKey]
		if owner != instance && !takeover {
			return nil, otherSpool(recorder, owner, instance)
		}
	} else if !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, fmt.Errorf("consumer %s: %w", name, err)
	}
	f.consumer, err = stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable:       name,
		Description:   "regate: archives the journal",
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckAllPolicy,
		AckWait:       5 * time.Second, // what is delivered again is known and skipped
		MaxAckPending: 1 << 17,         // what comes in syncEvery, with much room
		Metadata:      map[string]string{instanceKey: instance},
	})
	if err != nil {
		return nil, fmt.Errorf("consumer %s: %w", name, err)
	}
	f.at = f.consumer.CachedInfo().AckFloor.Stream
	if first := stream.CachedInfo().State.FirstSeq; first > 0 {
		f.at = max(f.at, first-1)
	}
	return f, nil
}

func (f *streamFeed) position() uint64 { return f.at }

func (f *streamFeed) gather(ctx context.Context, until time.Time, take func(message)) (got bool, err error) {
	if f.messages == nil {
		messages, err := f.consumer.Messages(jetstream.PullMaxBytes(batchBytes))
		if err != nil {
			return false, fmt.Errorf("read the journal: %w", err)
		}
		f.messages = messages
	}
	err = f.pull(ctx, until)
	if takeErr := f.takeBatch(ctx, take); takeErr != nil {
		err = takeErr
	}
	if err != nil {
		f.close()
		return len(f.batch) > 0, fmt.Errorf("read the journal: %w", err)
	}
	return len(f.batch) > 0, nil
}

// pull fills the batch.
func (f *streamFeed) pull(ctx context.Context, until time.Time) error {
	clear(f.batch)
	f.batch = f.batch[:0]
	wait := ctx
	if !until.IsZero() {
		var cancel context.CancelFunc
		wait, cancel = context.WithDeadline(ctx, until)
		defer cancel()
	}
	for size := 0; size < batchBytes; {
		m, err := f.messages.Next(jetstream.NextContext(wait))
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				err = nil
			}
			return err
		}
		if len(f.batch) == 0 {
			var cancel context.CancelFunc
			wait, cancel = context.WithTimeout(ctx, batchWait)
			defer cancel()
		}
		f.batch = append(f.batch, m)
		size += len(m.Data())
	}
	return nil
}

// takeBatch takes every message once and in the stream's order. What was
// delivered to an earlier run and not acknowledged comes again only after a
// while, and after newer messages; an acknowledgement covers everything before
// it. So what is missing in between is read from the stream at once.
func (f *streamFeed) takeBatch(ctx context.Context, take func(message)) error {
	for _, m := range f.batch {
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		seq := meta.Sequence.Stream
		if seq > f.at {
			for at := f.at + 1; at < seq; at++ {
				if err := f.takeMissing(ctx, at, take); err != nil {
					return err
				}
			}
			f.at = seq
			take(message{seq: seq, gateway: strings.TrimPrefix(m.Subject(), subjectPrefix), data: m.Data()})
		}
		// Not before: an acknowledgement covers everything up to its message, and
		// what lies below this one may just have failed to be read.
		if seq > f.newestSeq {
			f.newest, f.newestSeq = m, seq
		}
	}
	return nil
}

func (f *streamFeed) takeMissing(ctx context.Context, seq uint64, take func(message)) error {
	m, err := f.stream.GetMsg(ctx, seq)
	switch {
	case err == nil:
		take(message{seq: seq, gateway: strings.TrimPrefix(m.Subject, subjectPrefix), data: m.Data})
	case errors.Is(err, jetstream.ErrMsgNotFound):
		f.log.WithField("sequence", seq).Error("a message of the journal is missing")
	default:
		return err
	}
	f.at = seq
	return nil
}

func (f *streamFeed) acknowledge(ctx context.Context, seq uint64) error {
	if f.newest == nil || f.newestSeq > seq {
		return nil // what is durable cannot be told from what is not: it is delivered again
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return f.newest.DoubleAck(ctx)
}

func (f *streamFeed) trim(ctx context.Context, floor uint64) error {
	stream, err := f.js.Stream(ctx, StreamName)
	if err != nil {
		return err
	}
	list := stream.ListConsumers(ctx)
	for info := range list.Info() {
		if strings.HasPrefix(info.Name, consumerPrefix) {
			floor = min(floor, info.AckFloor.Stream)
		}
	}
	if list.Err() != nil {
		return list.Err()
	}
	return stream.Purge(ctx, jetstream.WithPurgeSequence(floor+1))
}

// last asks with a limit of its own: a question that a cut connection has
// swallowed is never answered, and would be waited for as long as ctx lives.
func (f *streamFeed) last(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	stream, err := f.js.Stream(ctx, StreamName)
	if err != nil {
		return 0, err
	}
	return stream.CachedInfo().State.LastSeq, nil
}

func (f *streamFeed) close() {
	if f.messages != nil {
		f.messages.Stop()
		f.messages = nil
	}
}
