package approval

import "time"

// Clock tells the time and wakes at a time.
type Clock interface {
	Now() time.Time
	// AfterFunc calls f on a goroutine of its own after d; stop prevents it.
	AfterFunc(d time.Duration, f func()) (stop func())
}

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

func (systemClock) AfterFunc(d time.Duration, f func()) func() {
	t := time.AfterFunc(d, f)
	return func() { t.Stop() }
}
