package web

import (
	"context"
	"fmt"
	"hash/fnv"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/regate-dev/regate/engine/approval"
	"github.com/regate-dev/regate/engine/console"
)

const (
	// maxStreams bounds open streams of events.
	maxStreams = 256
	// lookEvery is how often activity is looked at while anybody watches.
	lookEvery = 500 * time.Millisecond
	// aliveEvery is how often a stream says that it lives, and looks whether its
	// person still may watch.
	aliveEvery = 2 * time.Second
	// writeWait is how long a browser may take for one event.
	writeWait = 10 * time.Second
)

// hub tells the streams what has changed. The event's name is all that it
// sends: a browser asks for the page again, which knows what the person may see.
type hub struct {
	pages  *Pages
	cancel func() // of the subscription to approvals
	stop   context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	streams map[chan string]struct{}
	closed  bool
	wake    chan struct{}
}

func newHub(p *Pages) *hub {
	ctx, stop := context.WithCancel(context.Background())
	h := &hub{pages: p, stop: stop, done: make(chan struct{}), streams: map[chan string]struct{}{}, wake: make(chan struct{}, 1)}
	h.cancel = p.cfg.Approvals.Subscribe(func(*approval.Ticket) { h.tell("approvals") })
	go h.watch(ctx)
	return h
}

// close may be called again.
func (h *hub) close() {
	h.cancel()
	h.stop()
	<-h.done
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for s := range h.streams {
		close(s)
	}
	h.streams = nil
}

// tell never blocks: a stream that is behind has what it needs in its buffer.
func (h *hub) tell(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.streams {
		select {
		case s <- what:
		default:
		}
	}
}

func (h *hub) join() (chan string, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || len(h.streams) >= maxStreams {
		return nil, false
	}
	s := make(chan string, 8)
	h.streams[s] = struct{}{}
	select {
	case h.wake <- struct{}{}:
	default:
	}
	return s, true
}

func (h *hub) leave(s chan string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.streams, s)
}

func (h *hub) watched() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.streams) > 0
}

// watch looks at what happens while anybody wants to know.
func (h *hub) watch(ctx context.Context) {
	defer close(h.done)
	last := ""
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if !h.watched() {
			select {
			case <-ctx.Done():
				return
			case <-h.wake:
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := h.pages.pulse(ctx)
		if now != last && last != "" {
			h.tell("activity")
		}
		last = now
	}
}

// pulse changes with every session and request.
func (p *Pages) pulse(ctx context.Context) string {
	sum := fnv.New64a()
	total := uint64(0) // the list has no order
	for _, l := range p.cfg.Live() {
		sum.Reset()
		fmt.Fprint(sum, l.ID, l.Requests, l.Denials, l.Rows)
		total += sum.Sum64()
	}
	out := strconv.FormatUint(total, 36)
	if p.cfg.Recordings != nil {
		if at, err := p.cfg.Recordings.Index.Pulse(ctx); err == nil { // else it shows on the page
			out += "." + at
		}
	}
	return out
}

func (p *Pages) events(ctx context.Context, v *visit, w http.ResponseWriter, r *http.Request) error {
	stream, ok := p.hub.join()
	if !ok {
		return &console.Problem{Status: http.StatusServiceUnavailable, Reason: console.ReasonBusy, Title: "Busy", Detail: "Too many people are watching.", Hint: "Try again."}
	}
	defer p.hub.leave(stream)
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	send := func(text string) error {
		if err := out.SetWriteDeadline(time.Now().Add(writeWait)); err != nil {
			return err
		}
		if _, err := w.Write([]byte(text)); err != nil {
			return err
		}
		return out.Flush()
	}
	// Whoever comes back may have missed something.
	if err := send("retry: 2000\nevent: approvals\ndata: \n\nevent: activity\ndata: \n\n"); err != nil {
		return nil // the browser is gone
	}
	alive := time.NewTicker(aliveEvery)
	defer alive.Stop()
	for {
		text := ": \n\n"
		select {
		case <-ctx.Done():
			return nil
		case what, ok := <-stream:
			if !ok {
				return nil // the gateway stops
			}
			if what == "activity" && !v.May.Activity {
				continue
			}
			text = "event: " + what + "\ndata: \n\n"
		case <-alive.C:
			if _, err := p.visitor(r); err != nil {
				_ = send("event: signed-out\ndata: \n\n")
				return nil
			}
		}
		if err := send(text); err != nil {
			return nil
		}
	}
}
