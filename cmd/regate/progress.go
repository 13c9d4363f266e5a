package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/regate-dev/regate/engine/policy/backtest"
)

// progress is how far the reading of recordings has come.
type progress struct {
	total, done atomic.Int64 // sessions or bytes; total is 0 while it is not known
}

// progressEvery is how often a bar is drawn anew.
const progressEvery = 200 * time.Millisecond

// showProgress draws a bar on w, a terminal, until stop is called. Elsewhere it
// draws nothing.
func showProgress(w io.Writer, p *progress, c *backtest.Counter) (stop func()) {
	if !onTerminal(w) {
		return func() {}
	}
	begun := time.Now()
	done := make(chan struct{})
	var drawer sync.WaitGroup
	drawer.Go(func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				fmt.Fprint(w, "\r\x1b[K")
				return
			case <-tick.C:
				fmt.Fprintf(w, "\r\x1b[K%s", progressLine(p.done.Load(), p.total.Load(), c.Decisions.Load(), c.Evaluated.Load(), time.Since(begun)))
			}
		}
	})
	return sync.OnceFunc(func() {
		close(done)
		drawer.Wait()
	})
}

// progressLine is what a bar shows.
func progressLine(done, total, decisions, evaluated int64, took time.Duration) string {
	const width = 24
	var b strings.Builder
	if total > 0 {
		done = min(done, total)
		full := int(done * width / total)
		fmt.Fprintf(&b, "[%s%s] %3d %%  ", strings.Repeat("=", full), strings.Repeat(" ", width-full), done*100/total)
	}
	fmt.Fprintf(&b, "%s, %d evaluated", counted(decisions, "decision"), evaluated)
	if s := took.Seconds(); s >= 1 {
		fmt.Fprintf(&b, ", %.0f/s", float64(decisions)/s)
	}
	return b.String()
}
