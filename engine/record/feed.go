package record

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// message is one frame as the journal holds it.
type message struct {
	seq     uint64 // its place in the journal: later ones have higher numbers
	gateway string // whose it must be; "" where the journal does not say
	data    []byte // valid until the next gather
	damaged bool   // the journal itself says that data is no frame
}

// feed is a journal as a recorder reads it.
type feed interface {
	// position returns the place up to which everything was acknowledged.
	position() uint64
	// gather waits for a message, takes what comes shortly after it, and calls
	// take for each, once and in the journal's order. It returns at the time
	// until, where that is not zero, without any. got reports whether there is
	// something to acknowledge, with an error too.
	gather(ctx context.Context, until time.Time, take func(message)) (got bool, err error)
	// acknowledge says that everything up to a place is durable elsewhere.
	acknowledge(ctx context.Context, seq uint64) error
	// trim removes what every recorder has acknowledged.
	trim(ctx context.Context, seq uint64) error
	// last returns the place of the newest message.
	last(ctx context.Context) (uint64, error)
	// close ends the reading.
	close()
}

// logFeed reads the local log.
type logFeed struct {
	log    *Log
	name   string
	reader logReader
}

func newLogFeed(log *Log, name, spool string, takeover bool) (*logFeed, error) {
	at, err := log.attach(name, spool, takeover)
	if err != nil {
		return nil, err
	}
	return &logFeed{log: log, name: name, reader: logReader{dir: log.dir, at: at}}, nil
}

// otherSpool refuses to go on where what was read before is not at hand.
func otherSpool(recorder, owner, spool string) error {
	recorder = strings.TrimPrefix(recorder, consumerPrefix)
	return fmt.Errorf("recorder %q belongs to another spool (%s, not %s): give this one another name", recorder, owner, spool)
}

func (f *logFeed) position() uint64 { return f.reader.at }

func (f *logFeed) gather(ctx context.Context, until time.Time, take func(message)) (got bool, err error) {
	if !f.await(ctx, until) {
		return false, nil
	}
	if f.log.End()-f.reader.at < batchBytes {
		pause(ctx, batchWait)
	}
	limit := f.log.End()
	for start := f.reader.at; f.reader.at < limit && f.reader.at-start < batchBytes && ctx.Err() == nil; {
		data, err := f.reader.next(limit)
		m := message{seq: f.reader.at, data: data}
		if errors.Is(err, errRecord) {
			from, rest, err := f.reader.skip(limit)
			if err != nil {
				return got, err
			}
			m = message{seq: from, data: rest, damaged: true}
		} else if err != nil {
			return got, err
		}
		take(m)
		got = true
	}
	return got, nil
}

// await returns true when there is something to read.
func (f *logFeed) await(ctx context.Context, until time.Time) bool {
	var late <-chan time.Time
	if !until.IsZero() {
		late = time.After(time.Until(until))
	}
	for {
		f.log.reads.Store(true)
		if f.log.End() > f.reader.at {
			f.log.reads.Store(false)
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-late:
			return false
		case <-f.log.wake:
		}
	}
}

func (f *logFeed) acknowledge(_ context.Context, seq uint64) error { return f.log.pass(f.name, seq) }
func (f *logFeed) trim(context.Context, uint64) error              { return f.log.trim() }
func (f *logFeed) last(context.Context) (uint64, error)            { return f.log.End(), nil }

func (f *logFeed) close() {
	f.reader.close()
	f.log.detach()
}
