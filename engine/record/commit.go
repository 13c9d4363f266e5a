package record

import (
	"context"
	"crypto/sha256"
	"errors"
	"runtime"
	"time"
)

// lazyCommit is how long events may gather that nobody waits for.
const lazyCommit = 20 * time.Millisecond

// committer writes frames to the local log. Whoever waits for an event does
// the writing for all that have gathered until then: no other goroutine must
// be woken for it, and those who come meanwhile share the next write.
type committer struct {
	j   *Journal
	log *Log
	// turn is held by who writes; it guards what follows.
	turn chan struct{}

	seq     uint64 // of the last frame
	prev    Hash   // its hash
	unacked uint64 // frames that failed since the last that was stored
	down    bool

	heads   []byte
	frames  []*frame
	records [][]byte
}

func newCommitter(j *Journal, log *Log) *committer {
	return &committer{j: j, log: log, turn: make(chan struct{}, 1)}
}

// wait returns when a is settled, and writes where nobody does. Sessions that
// can run go first: what they record is stored by the same write.
func (c *committer) wait(ctx context.Context, a *Ack) error {
	runtime.Gosched()
	if done, err := a.Ready(); done {
		return err
	}
	select {
	case c.turn <- struct{}{}: // nobody is at it: mostly so
		c.write(a)
	default:
	}
	for {
		select {
		case <-a.done:
			return a.err
		case <-ctx.Done():
			return ctx.Err()
		case c.turn <- struct{}{}:
			c.write(a)
		}
	}
}

// write stores what has gathered, where a is still among it, and gives the
// turn back.
func (c *committer) write(a *Ack) {
	if done, _ := a.Ready(); !done {
		c.commit()
	}
	<-c.turn
}

// commit seals and stores everything that has gathered. The caller has the
// turn.
func (c *committer) commit() {
	j := c.j
	j.mu.Lock()
	c.frames = append(c.frames[:0], j.ready...)
	j.ready = j.ready[:0]
	if j.current != nil {
		c.frames = append(c.frames, j.current)
		j.current = nil
	}
	j.mu.Unlock()
	if len(c.frames) == 0 {
		return
	}
	if err := c.store(c.frames); err != nil {
		c.fail(c.frames, err)
		return
	}
	for _, f := range c.frames {
		f.ack.settle(nil)
	}
	j.mu.Lock()
	for _, f := range c.frames {
		for i := range f.events {
			if f.events[i].last {
				delete(j.sessions, f.events[i].w)
			}
		}
		j.pending -= f.size()
		j.recycle(f)
	}
	j.room.Broadcast()
	j.mu.Unlock()
}

func (c *committer) store(frames []*frame) error {
	if c.down {
		return errors.New("it is being restored")
	}
	c.records = c.records[:0]
	for _, f := range frames {
		c.records = append(c.records, c.seal(f))
	}
	err := c.log.append(c.records...)
	clear(c.records)
	if err == nil {
		c.unacked = 0
	}
	return err
}

// seal gives a frame its number and its place in the chain, and returns the
// record that is stored.
func (c *committer) seal(f *frame) []byte {
	c.seq++
	f.seq = c.seq
	c.heads = c.heads[:0]
	for i := range f.events {
		c.heads = append(c.heads, f.events[i].hash[:]...)
	}
	head := FrameHead{
		Gateway: c.j.opts.Gateway, Epoch: c.j.epoch, Seq: c.seq, Prev: c.prev,
		Time: c.j.opts.Clock().UnixNano(), Events: len(f.events), Unacked: c.unacked, Hashes: sha256.Sum256(c.heads),
	}
	c.heads = appendFrameHead(c.heads[:0], head)
	c.prev = sha256.Sum256(c.heads)
	record := f.buf[headRoom-len(c.heads)-recordHead:]
	copy(record[recordHead:], c.heads)
	sealRecord(record)
	return record
}

// fail takes the journal down: the frames, and all that have gathered since,
// are lost, and events are refused from here on.
func (c *committer) fail(frames []*frame, cause error) {
	j := c.j
	failed, err := j.giveUp(frames, cause, c.down)
	c.down = true
	for _, f := range failed {
		if f.seq != 0 {
			c.unacked++
		}
		f.ack.settle(err)
		for _, e := range f.events {
			e.w.lost(e.seq, e.hash, err)
		}
		f.buf = nil
	}
}

// run stores what nobody waits for, and brings the journal back after a
// failure.
func (c *committer) run() {
	for {
		select {
		case <-c.j.stop:
			c.abandon()
			return
		case <-c.j.wake:
		}
		select {
		case <-c.j.stop:
		case <-time.After(lazyCommit):
		}
		c.turn <- struct{}{}
		// Before the commit, so that what comes during it wakes us again.
		c.j.mu.Lock()
		c.j.idle = true
		c.j.mu.Unlock()
		c.commit()
		down := c.down
		<-c.turn
		if down && !c.recover() {
			c.abandon()
			return
		}
	}
}

// recover tries to store an empty frame until it succeeds and takes events
// again. It returns false when the journal stops first.
func (c *committer) recover() bool {
	if !c.j.await(c.probe) {
		return false
	}
	c.j.log.Warn("the journal takes events again")
	c.j.reopen()
	return true
}

func (c *committer) probe() error {
	if err := c.j.checkDisk(); err != nil {
		return err
	}
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	c.down = false
	if err := c.store([]*frame{{buf: make([]byte, headRoom)}}); err != nil {
		c.unacked++
		c.down = true
		return err
	}
	return nil
}

// abandon fails what is still pending when the journal stops.
func (c *committer) abandon() {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	c.fail(nil, ErrClosed)
	c.j.abandon()
}
