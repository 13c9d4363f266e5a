package procs

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"
)

// clockTick is how many ticks a second /proc/stat counts in. Source: proc(5)
// and getconf CLK_TCK, which is 100 on every platform that Go runs on.
const clockTick = 100

// reading is what was used up to a moment.
type reading struct {
	at   time.Time
	used time.Duration
	idle time.Duration
	host bool // idle is known
}

func read() (reading, bool) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return reading{}, false
	}
	r := reading{at: time.Now(), used: time.Duration(u.Utime.Nano() + u.Stime.Nano())}
	var room [256]byte
	if f, err := os.Open("/proc/stat"); err == nil {
		n, _ := f.Read(room[:])
		_ = f.Close()
		r.idle, r.host = idleTime(room[:n])
	}
	return r, true
}

// idleTime reads the first line of /proc/stat: "cpu", user, nice, system, idle,
// iowait and more, in ticks of all processors together.
func idleTime(stat []byte) (time.Duration, bool) {
	line, _, _ := bytes.Cut(stat, []byte{'\n'})
	fields := bytes.Fields(line)
	if len(fields) < 6 || string(fields[0]) != "cpu" {
		return 0, false
	}
	idle, err1 := strconv.ParseInt(string(fields[4]), 10, 64)
	wait, err2 := strconv.ParseInt(string(fields[5]), 10, 64)
	return time.Duration(idle+wait) * time.Second / clockTick, err1 == nil && err2 == nil
}

// since is the load between two readings.
func (r reading) since(before reading) load {
	wall := r.at.Sub(before.at).Seconds()
	if wall <= 0 {
		return load{idle: -1}
	}
	l := load{used: (r.used - before.used).Seconds() / wall, idle: -1}
	if r.host && before.host {
		l.idle = max(0, (r.idle-before.idle).Seconds()/wall)
	}
	return l
}
