package record

import (
	"errors"
	"fmt"
	"time"
)

// How a journal that is down tries to come back.
const (
	retryFirst = 20 * time.Millisecond
	retryMost  = 500 * time.Millisecond
)

// giveUp takes the journal down: events are refused from here on. It returns
// the frames that fail, those given and all that have gathered since, and why.
// known: it was down before, and said so.
func (j *Journal) giveUp(frames []*frame, cause error, known bool) (failed []*frame, err error) {
	err = fmt.Errorf("%w: %w", ErrDown, cause)
	j.mu.Lock()
	failed = append(append([]*frame(nil), frames...), j.ready...)
	j.ready = j.ready[:0]
	if j.current != nil {
		failed = append(failed, j.current)
		j.current = nil
	}
	for _, f := range failed {
		j.pending -= f.size()
	}
	if !j.closed {
		j.setRefusal(err, false)
	}
	j.mu.Unlock()
	if !known && (len(failed) > 0 || !errors.Is(cause, ErrClosed)) {
		j.log.WithError(err).WithField("frames", len(failed)).Error("events are not recorded; they are refused until the journal is back")
	}
	return failed, err
}

// await calls probe until it succeeds, and returns false when the journal stops
// first.
func (j *Journal) await(probe func() error) bool {
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		select {
		case <-j.stop:
			return false
		case <-time.After(wait):
		}
		err := probe()
		if err == nil {
			return true
		}
		j.log.WithError(err).Debug("the journal is still down")
	}
}

// reopen takes events again.
func (j *Journal) reopen() {
	j.mu.Lock()
	if !j.closed {
		j.setRefusal(nil, false)
	}
	j.mu.Unlock()
	// In a goroutine of its own: a session may wait for room, which this one
	// makes.
	j.stopped.Go(func() {
		for _, w := range j.writers() {
			w.recovered()
		}
	})
}

// abandon fails the Closes that still wait.
func (j *Journal) abandon() {
	j.mu.Lock()
	j.setRefusal(ErrClosed, false)
	j.mu.Unlock()
	for _, w := range j.writers() {
		w.ended(ErrClosed)
	}
}
