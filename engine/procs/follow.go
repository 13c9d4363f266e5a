package procs

import (
	"context"
	"os"
	"runtime"
	"time"
)

// How the number follows the load.
const (
	// every is how often the load is looked at.
	every = 250 * time.Millisecond
	// busy is the share of the processors at hand from which on another is
	// taken, where the machine has one that is idle.
	busy = 0.9
	// calm is the share of the processors that would be left up to which one is
	// given back, when it was so for calmFor looks in a row.
	calm    = 0.6
	calmFor = 20
	// idleShare is how much of one processor must be idle on the machine.
	idleShare = 0.15
)

// load is what was used in one interval, in processors.
type load struct {
	used float64 // by this process
	idle float64 // by nobody on the machine; negative: not known
}

// follower decides how many processors are used. It has no clock.
type follower struct {
	least, most int
	now         int
	quiet       int // looks in a row at which one fewer would have done
}

// look takes the load of an interval and returns how many to use from here on.
func (f *follower) look(l load) int {
	switch {
	case l.used >= busy*float64(f.now):
		f.quiet = 0
		if f.now < f.most && (l.idle < 0 || l.idle >= idleShare) {
			f.now = min(f.most, max(f.now+1, f.now+f.now/2))
		}
	case f.now > f.least && l.used <= calm*float64(f.now-1):
		if f.quiet++; f.quiet >= calmFor {
			f.quiet = 0
			f.now--
		}
	default:
		f.quiet = 0
	}
	return f.now
}

// Follow sets GOMAXPROCS by the load until ctx ends, and then back to what it
// was. It does nothing where the environment sets GOMAXPROCS, and where the
// load cannot be read.
func Follow(ctx context.Context) {
	most := runtime.GOMAXPROCS(0)
	before, ok := read()
	if os.Getenv("GOMAXPROCS") != "" || most < 2 || !ok {
		return
	}
	f := follower{least: most / 2, most: most, now: most / 2}
	runtime.GOMAXPROCS(f.now)
	defer runtime.GOMAXPROCS(most)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		after, ok := read()
		if !ok {
			return
		}
		was := f.now
		if n := f.look(after.since(before)); n != was {
			runtime.GOMAXPROCS(n)
		}
		before = after
	}
}
