package record

import (
	"context"
	"time"
)

const (
	// watchEvery is how often a journal looks at the room it has.
	watchEvery = 500 * time.Millisecond
	// flushEvery is how often a local log is brought to the disk, unless each
	// write is.
	flushEvery = 5 * time.Second
)

// watch keeps the count of the stored bytes true (the recorder removes what it
// has archived, and other gateways share a stream), and takes events
// again when a full journal has room.
func (j *Journal) watch() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	flush := time.NewTicker(flushEvery)
	defer flush.Stop()
	var seen int64
	for {
		select {
		case <-j.stop:
			return
		case <-flush.C:
			if j.opts.Log == nil {
				continue
			}
			if err := j.opts.Log.flush(); err != nil {
				j.log.WithError(err).Error("the journal is not brought to the disk: it would not survive the loss of power")
			}
			continue
		case <-tick.C:
		}
		j.mu.Lock()
		skip := j.closed || (j.refusal != nil && !j.full) || (j.refusal == nil && j.used == seen)
		j.mu.Unlock()
		if skip {
			continue
		}
		used, err := j.stored()
		if err != nil {
			continue // the publisher finds out what is wrong
		}
		j.mu.Lock()
		j.used = used + int64(j.pending)
		seen = j.used
		reopen := j.full && !j.closed && j.roomAgain()
		if reopen {
			j.setRefusal(nil, false)
		}
		j.mu.Unlock()
		if reopen {
			j.log.Warn("the journal has room and takes events again")
			for _, w := range j.writers() {
				w.recovered()
			}
		}
	}
}

// roomAgain asks for half a reserve more than nothing, so that a journal at
// its limit does not flap. The caller holds mu.
func (j *Journal) roomAgain() bool {
	return j.used+j.opts.Reserve/2 <= j.opts.MaxBytes-j.opts.Reserve && j.checkDisk() == nil
}

func (j *Journal) stored() (int64, error) {
	if j.opts.Log != nil {
		return j.opts.Log.Size(), nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), j.opts.Timeout)
	defer cancel()
	stream, err := j.opts.JetStream.Stream(ctx, StreamName)
	if err != nil {
		return 0, err
	}
	return int64(stream.CachedInfo().State.Bytes), nil
}
