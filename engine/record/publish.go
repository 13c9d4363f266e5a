package record

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// gatherTurns is how often the publisher lets other goroutines go first before
// it takes a frame: sessions that are about to append get into the same frame,
// and a frame costs far more than an event. It waits for nobody that sleeps.
const gatherTurns = 4

// publisher is the one goroutine that seals frames and publishes them. It is
// the only one that touches its fields, but for those noted.
//
// It speaks the JetStream publish protocol on the plain connection: a publish
// with a reply subject, answered by a JSON acknowledgement. The client's own
// asynchronous publisher costs more than the rest of the path together.
type publisher struct {
	j       *Journal
	inbox   string // reply subjects are inbox + decimal frame number
	sub     *nats.Subscription
	replies chan *nats.Msg
	status  chan nats.Status

	seq     uint64 // of the last frame
	prev    Hash   // its hash
	unacked uint64 // frames sent and failed since the last that was acknowledged
	stored  uint64 // stream sequence of the last acknowledged frame

	inFlight []*frame // oldest first; length is read under j.mu by may
	doubtful []*frame // failed: may be stored or not
	cause    error    // why the journal is down, nil while it is not

	hasher hash.Hash
	heads  []byte
}

func (p *publisher) open(j *Journal) error {
	p.j = j
	p.hasher = sha256.New()
	p.inbox = nats.NewInbox() + "."
	p.replies = make(chan *nats.Msg, 4*maxInFlight)
	p.status = j.nc.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	sub, err := j.nc.ChanSubscribe(p.inbox+"*", p.replies)
	if err != nil {
		return fmt.Errorf("subscribe to acknowledgements: %w", err)
	}
	p.sub = sub
	return nil
}

// may reports whether a frame may be published now. The caller holds j.mu.
func (p *publisher) may(j *Journal) bool {
	switch {
	case len(j.ready) == 0 && (j.current == nil || len(j.current.events) == 0):
		return false
	case len(p.inFlight) == 0:
		return true
	case len(p.inFlight) >= maxInFlight:
		return false
	default:
		return len(j.ready) > 0 || j.current.size() >= eagerSize
	}
}

// take returns the next frame to publish, now counted as in flight, or nil. In
// that case the publisher counts as asleep and will be woken.
func (p *publisher) take() *frame {
	j := p.j
	j.mu.Lock()
	defer j.mu.Unlock()
	if !p.may(j) {
		j.idle = true
		return nil
	}
	j.idle = false
	var f *frame
	if len(j.ready) > 0 {
		f = j.ready[0]
		j.ready = append(j.ready[:0], j.ready[1:]...)
	} else {
		f, j.current = j.current, nil
	}
	p.inFlight = append(p.inFlight, f)
	return f
}

func (p *publisher) run() {
	defer p.j.nc.RemoveStatusListener(p.status)
	defer func() { _ = p.sub.Unsubscribe() }()
	tick := time.NewTicker(p.j.opts.Timeout / 4)
	defer tick.Stop()
	for {
		for f := p.take(); f != nil; f = p.take() {
			if err := p.send(f); err != nil {
				p.fail(err)
			}
		}
		if p.cause != nil {
			if !p.recover() {
				p.abandon()
				return
			}
			continue
		}
		select {
		case <-p.j.wake:
			for range gatherTurns {
				runtime.Gosched()
			}
		case m := <-p.replies:
			p.answer(m)
		case s := <-p.status:
			if len(p.inFlight) > 0 {
				p.fail(fmt.Errorf("the connection to NATS is %s", strings.ToLower(s.String())))
			}
		case <-tick.C:
			if len(p.inFlight) > 0 && time.Since(p.inFlight[0].sent) > p.j.opts.Timeout {
				p.fail(fmt.Errorf("no acknowledgement within %s", p.j.opts.Timeout))
			}
		case <-p.j.stop:
			p.abandon()
			return
		}
	}
}

// send seals a frame and publishes it. The client copies the bytes.
func (p *publisher) send(f *frame) error {
	p.seq++
	f.seq = p.seq
	f.sent = time.Now() // for the timeout only, so not the journal's clock
	p.hasher.Reset()
	for i := range f.events {
		p.hasher.Write(f.events[i].hash[:])
	}
	head := FrameHead{
		Gateway: p.j.opts.Gateway, Epoch: p.j.epoch, Seq: p.seq, Prev: p.prev,
		Time: p.j.opts.Clock().UnixNano(), Events: len(f.events), Unacked: p.unacked,
	}
	p.hasher.Sum(head.Hashes[:0])
	p.heads = appendFrameHead(p.heads[:0], head)
	p.prev = sha256.Sum256(p.heads)
	data := f.buf[headRoom-len(p.heads):]
	copy(data, p.heads)
	reply := p.inbox + strconv.FormatUint(p.seq, 10)
	return p.j.nc.PublishRequest(p.j.subject, reply, data)
}

// answer takes one acknowledgement. Frames of one connection are stored in
// order, so the oldest frame's comes first; any other order is a failure of
// the frame before it.
func (p *publisher) answer(m *nats.Msg) {
	seq, err := strconv.ParseUint(strings.TrimPrefix(m.Subject, p.inbox), 10, 64)
	if err != nil || len(p.inFlight) == 0 || seq < p.inFlight[0].seq {
		return // an answer that came after its timeout
	}
	if seq != p.inFlight[0].seq {
		p.fail(fmt.Errorf("the acknowledgement of frame %d came before that of frame %d", seq, p.inFlight[0].seq))
		return
	}
	at, err := readAnswer(m)
	if err != nil {
		p.fail(err)
		return
	}
	p.stored, p.unacked = at, 0
	f := p.inFlight[0]
	f.ack.settle(nil)

	j := p.j
	j.mu.Lock()
	p.inFlight = append(p.inFlight[:0], p.inFlight[1:]...)
	for i := range f.events {
		if f.events[i].last {
			delete(j.sessions, f.events[i].w)
		}
	}
	j.pending -= f.size()
	j.recycle(f)
	j.room.Broadcast()
	j.mu.Unlock()
	// Those who were waiting now append their next events. Letting them go
	// first puts these into the next frame instead of the one after it.
	runtime.Gosched()
}

// readAnswer returns the stream sequence of an acknowledgement.
func readAnswer(m *nats.Msg) (uint64, error) {
	if len(m.Data) == 0 {
		if m.Header.Get("Status") == "503" {
			return 0, errors.New("JetStream does not answer")
		}
		return 0, errors.New("empty acknowledgement")
	}
	var ack struct {
		Stream string              `json:"stream"`
		Seq    uint64              `json:"seq"`
		Error  *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &ack); err != nil {
		return 0, fmt.Errorf("acknowledgement: %w", err)
	}
	if ack.Error != nil {
		return 0, ack.Error
	}
	if ack.Stream != StreamName || ack.Seq == 0 {
		return 0, fmt.Errorf("acknowledgement by stream %q", ack.Stream)
	}
	return ack.Seq, nil
}

// fail takes the journal down: every frame that is not acknowledged fails, and
// events are refused from here on.
func (p *publisher) fail(cause error) {
	j := p.j
	failed, err := j.giveUp(p.inFlight, cause, p.cause != nil)
	j.mu.Lock() // for may
	p.inFlight = p.inFlight[:0]
	j.mu.Unlock()
	p.cause = err
	for _, f := range failed {
		if f.seq != 0 {
			p.unacked++
		}
		f.ack.settle(err)
		f.buf = nil
	}
	p.doubtful = append(p.doubtful, failed...)
}

// recover tries to publish an empty frame until it is stored, finds out which
// of the failed frames were stored after all, declares the others lost and
// takes events again. It returns false when the journal stops first.
func (p *publisher) recover() bool {
	j := p.j
	if !j.await(p.probe) {
		return false
	}
	lost := 0
	for _, f := range p.doubtful {
		for _, e := range f.events {
			e.w.lost(e.seq, e.hash, p.cause)
			lost++
		}
	}
	p.doubtful, p.cause = nil, nil
	j.log.WithField("lost", lost).Warn("the journal takes events again")
	j.reopen()
	return true
}

func (p *publisher) probe() error {
	ctx, cancel := context.WithTimeout(context.Background(), p.j.opts.Timeout)
	defer cancel()
	stream, err := p.j.ensureStream(ctx)
	if err != nil {
		return err
	}
	p.j.mu.Lock()
	p.j.used = int64(stream.CachedInfo().State.Bytes)
	p.j.mu.Unlock()
	if err := p.j.checkDisk(); err != nil {
		return err
	}
	for len(p.replies) > 0 {
		<-p.replies
	}
	f := &frame{buf: make([]byte, headRoom)}
	if err := p.send(f); err != nil {
		return err
	}
	for {
		select {
		case m := <-p.replies:
			if m.Subject != p.inbox+strconv.FormatUint(f.seq, 10) {
				continue // an answer that came after its timeout
			}
			at, err := readAnswer(m)
			if err != nil {
				p.unacked++
				return err
			}
			if err := p.resolve(ctx, stream, at); err != nil {
				p.unacked++
				return err
			}
			p.stored, p.unacked = at, 0
			return nil
		case <-ctx.Done():
			p.unacked++
			return ctx.Err()
		}
	}
}

// resolve reads what the stream holds of this gateway between the last
// acknowledged frame and the probe, and drops the doubtful frames that it
// finds: they are stored, only their acknowledgement was lost.
func (p *publisher) resolve(ctx context.Context, stream jetstream.Stream, probe uint64) error {
	for at := p.stored + 1; at < probe && len(p.doubtful) > 0; {
		m, err := stream.GetMsg(ctx, at, jetstream.WithGetMsgSubject(p.j.subject))
		if err != nil {
			return fmt.Errorf("read the journal back: %w", err)
		}
		at = m.Sequence + 1
		f, err := DecodeFrame(m.Data)
		if err != nil || f.Epoch != p.j.epoch {
			continue
		}
		kept := p.doubtful[:0]
		for _, d := range p.doubtful {
			if d.seq != f.Seq {
				kept = append(kept, d)
				continue
			}
			p.j.settled(d)
		}
		p.doubtful = kept
	}
	return nil
}

// settled forgets the sessions that a frame closed. It was taken for lost, so
// their Closes may still wait for another try.
func (j *Journal) settled(f *frame) {
	for _, e := range f.events {
		if e.last {
			e.w.ended(nil)
			j.forget(e.w)
		}
	}
}

// abandon fails what is still pending when the journal stops.
func (p *publisher) abandon() {
	p.fail(ErrClosed)
	p.j.abandon()
}
