package engine

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

// Those who wait for a session that cannot be opened are refused as the first
// one is, and nothing of it is kept.
func TestPoolSharesARefusal(t *testing.T) {
	p := NewPool[string, struct{}](2, time.Minute)
	refused := &Denial{Reasons: []string{"identity/expired"}, Message: "no"}
	begun, goOn := make(chan struct{}), make(chan struct{})
	var wait sync.WaitGroup
	opened := 0
	for i := range 5 {
		if i == 1 {
			<-begun
		}
		wait.Go(func() {
			_, err := p.Acquire(t.Context(), "a", func() (*Session, error) {
				opened++
				close(begun)
				<-goOn
				return nil, refused
			})
			if !errors.Is(err, refused) {
				t.Errorf("%v", err)
			}
		})
	}
	// One that is cancelled meanwhile does not wait.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var d *Denial
	if _, err := p.Acquire(ctx, "a", nil); !errors.As(err, &d) || d.Reason() != ReasonCancelled {
		t.Errorf("%v", err)
	}
	for {
		p.mu.Lock()
		users := p.live["a"].users
		p.mu.Unlock()
		if users == 5 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	close(goOn)
	wait.Wait()
	if opened != 1 || len(p.live) != 0 {
		t.Errorf("opened %d times, %d are kept", opened, len(p.live))
	}
	p.Close(t.Context())
	if _, err := p.Acquire(t.Context(), "a", nil); !errors.As(err, &d) || d.Reason() != ReasonDraining {
		t.Errorf("%v", err)
	}
	if _, err := NewPool[string, struct{}](0, time.Minute).Acquire(t.Context(), "a", nil); !errors.As(err, &d) || d.Reason() != ReasonTooManySessions {
		t.Errorf("%v", err)
	}
}

// An open that panics leaves nothing behind.
func TestPoolSurvivesAPanic(t *testing.T) {
	p := NewPool[string, struct{}](2, time.Minute)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is lost")
			}
		}()
		_, _ = p.Acquire(t.Context(), "a", func() (*Session, error) { panic("a defect") })
	}()
	if len(p.live) != 0 {
		t.Error("the session is kept")
	}
	p.Close(t.Context()) // waits for nothing
}
