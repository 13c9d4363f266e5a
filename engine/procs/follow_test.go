package procs

import "testing"

func TestLook(t *testing.T) {
	f := follower{least: 2, most: 4, now: 2}
	for _, step := range []struct {
		load
		times, want int
	}{
		{load{1.7, 2}, 50, 2},          // neither full nor more than needed
		{load{1.9, 0}, 50, 2},          // full, and the machine is too
		{load{1.9, 0.5}, 1, 3},         // full, and another is idle
		{load{2.8, -1}, 1, 4},          // nothing is known of the machine
		{load{4, 4}, 3, 4},             // there are no more
		{load{1.5, 2}, calmFor - 1, 4}, // not for long enough yet
		{load{2.5, 2}, 1, 4},           // needed again
		{load{1.5, 2}, calmFor, 3},     // one less
		{load{0, 4}, 10 * calmFor, 2},  // never below the least
		{load{1.81, 1}, 1, 3},
	} {
		got := 0
		for range step.times {
			got = f.look(step.load)
		}
		if got != step.want {
			t.Errorf("after %d times %+v: %d processors, want %d", step.times, step.load, got, step.want)
		}
	}
}

func TestRead(t *testing.T) {
	before, ok := read()
	if !ok {
		t.Skip("the load cannot be read on this system")
	}
	sum := 0
	for i := range 200_000_000 {
		sum += i * i
	}
	_ = sum
	after, _ := read()
	if l := after.since(before); l.used <= 0 || l.used > 64 {
		t.Errorf("a busy interval: %+v", l)
	}
}

func TestIdleTime(t *testing.T) {
	if d, ok := idleTime([]byte("cpu  10 0 20 300 50 0 0 0 0 0\ncpu0 1 2 3\n")); !ok || d.Milliseconds() != 3500 {
		t.Error(d, ok)
	}
	for _, bad := range []string{"", "cpu", "cpu 1 2 3 x 5 6", "intr 1 2 3 4 5 6"} {
		if _, ok := idleTime([]byte(bad)); ok {
			t.Errorf("read %q", bad)
		}
	}
}
