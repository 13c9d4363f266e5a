package kubernetes

import (
	"sync"
	"time"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/proxies/kubernetes/request"
)

// kubectl tries a stream over WebSocket, and after any refusal once more over
// SPDY, whose answer is the one that people see. So a refused stream is
// remembered for a moment, and the second try hears the same.

// fallbackTime is how long that is: kubectl tries again at once.
const fallbackTime = 10 * time.Second

// maxFallbacks bounds what one session remembers.
const maxFallbacks = 64

// fallbacks are the streams of a session that were refused.
type fallbacks struct {
	mu   sync.Mutex
	list map[string]fallback
}

type fallback struct {
	denial *engine.Denial
	at     time.Time
}

// remember notes why a stream over WebSocket was refused.
func (f *fallbacks) remember(r *request.Request, d *engine.Denial) {
	if r.Action.Upgrade != "websocket" {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.list == nil || len(f.list) >= maxFallbacks {
		f.list = map[string]fallback{}
	}
	f.list[r.URL.RequestURI()] = fallback{d, time.Now()}
}

// recall returns why the same stream is refused over SPDY, once; nil where there
// was nothing.
func (f *fallbacks) recall(r *request.Request) *engine.Denial {
	if r.Action.Upgrade != "spdy" {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	found, ok := f.list[r.URL.RequestURI()]
	delete(f.list, r.URL.RequestURI())
	if !ok || time.Since(found.at) > fallbackTime {
		return nil
	}
	return found.denial
}
