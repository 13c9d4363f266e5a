package record

import "context"

// Ack is the acknowledgement of one or more events: those that share a frame
// share it. It is safe for concurrent use.
type Ack struct {
	done   chan struct{}
	err    error      // read only after done is closed
	commit *committer // where who waits does the storing; else nil
}

func newAck() *Ack { return &Ack{done: make(chan struct{})} }

// failedAck returns an Ack that is settled with err.
func failedAck(err error) *Ack {
	a := newAck()
	a.settle(err)
	return a
}

func (a *Ack) settle(err error) {
	a.err = err
	close(a.done)
}

// Wait returns nil when the events are stored, and why not when they may not
// be. It returns early with the context's error; the events may still be
// stored then.
func (a *Ack) Wait(ctx context.Context) error {
	select {
	case <-a.done:
		return a.err
	default:
	}
	if a.commit != nil {
		return a.commit.wait(ctx, a)
	}
	select {
	case <-a.done:
		return a.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Ready reports whether the events are settled, and the error when they are.
func (a *Ack) Ready() (done bool, err error) {
	select {
	case <-a.done:
		return true, a.err
	default:
		return false, nil
	}
}

// Done is closed when the events are settled.
func (a *Ack) Done() <-chan struct{} { return a.done }
