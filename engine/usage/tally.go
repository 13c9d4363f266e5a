package usage

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Counts are what is counted.
type Counts struct {
	Requests, Rows, Bytes, Denials, Sensitive int64
}

func (c Counts) plus(o Counts) Counts {
	return Counts{c.Requests + o.Requests, c.Rows + o.Rows, c.Bytes + o.Bytes, c.Denials + o.Denials, c.Sensitive + o.Sensitive}
}

func (c Counts) list() [5]int64 {
	return [5]int64{c.Requests, c.Rows, c.Bytes, c.Denials, c.Sensitive}
}

// Windows are the counts of one meter.
type Windows struct {
	Day  Counts // since 00:00 UTC
	Hour Counts // in the last 60 to 65 minutes
}

func (w Windows) plus(o Windows) Windows {
	return Windows{w.Day.plus(o.Day), w.Hour.plus(o.Hour)}
}

const (
	slotLength = 5 * 60 // seconds
	// keptSlots cover the last hour whole: the slot that runs and the twelve
	// before it.
	keptSlots = 13
	dayLength = 24 * 60 * 60
)

// tally is counts by day and slot. The zero tally has counted nothing.
type tally struct {
	day   int64 // days since 1970, UTC
	total Counts
	slots []slot // ascending, at most keptSlots
}

type slot struct {
	n int64 // slots since 1970
	c Counts
}

func (t *tally) add(now time.Time, c Counts) {
	second := now.Unix()
	t.merge(tally{day: second / dayLength, total: c, slots: []slot{{second / slotLength, c}}})
}

// merge adds what o has counted. Of two days the later one counts.
func (t *tally) merge(o tally) {
	switch {
	case o.day > t.day:
		t.day, t.total = o.day, o.total
	case o.day == t.day:
		t.total = t.total.plus(o.total)
	}
	for _, s := range o.slots {
		at, found := slices.BinarySearchFunc(t.slots, s.n, func(have slot, n int64) int { return int(have.n - n) })
		if found {
			t.slots[at].c = t.slots[at].c.plus(s.c)
		} else {
			t.slots = slices.Insert(t.slots, at, s)
		}
	}
	if n := len(t.slots); n > 0 {
		oldest := t.slots[n-1].n - keptSlots
		t.slots = slices.DeleteFunc(t.slots, func(s slot) bool { return s.n <= oldest })
	}
}

func (t *tally) clone() tally {
	return tally{t.day, t.total, slices.Clone(t.slots)}
}

func (t *tally) empty() bool { return t.day == 0 && len(t.slots) == 0 }

// at returns what counts now. A day or slot that lies ahead is that of a gateway
// whose clock is, and counts too.
func (t *tally) at(now time.Time) Windows {
	var w Windows
	second := now.Unix()
	if t.day >= second/dayLength {
		w.Day = t.total
	}
	for _, s := range t.slots {
		if s.n > second/slotLength-keptSlots {
			w.Hour = w.Hour.plus(s.c)
		}
	}
	return w
}

// over reports whether nothing of it counts any more.
func (t *tally) over(now time.Time) bool {
	return t.at(now) == Windows{}
}

// stored is a tally in the bucket.
type stored struct {
	Version int        `json:"v"`
	Day     int64      `json:"day"`
	Total   [5]int64   `json:"total"` // requests, rows, bytes, denials, sensitive
	Slots   [][6]int64 `json:"slots"` // slot, and the same
	By      string     `json:"by"`    // names the write
}

const storedVersion = 1

func (t *tally) encode(by string) []byte {
	s := stored{Version: storedVersion, Day: t.day, Total: t.total.list(), Slots: make([][6]int64, len(t.slots)), By: by}
	for i, have := range t.slots {
		l := have.c.list()
		s.Slots[i] = [6]int64{have.n, l[0], l[1], l[2], l[3], l[4]}
	}
	raw, err := json.Marshal(s)
	if err != nil {
		panic(err) // numbers and a string: they marshal
	}
	return raw
}

func decode(raw []byte) (t tally, by string, err error) {
	var s stored
	if err := json.Unmarshal(raw, &s); err != nil {
		return t, "", fmt.Errorf("counts: %w", err)
	}
	switch {
	case s.Version != storedVersion:
		return t, "", fmt.Errorf("counts: version %d, this regate knows %d", s.Version, storedVersion)
	case len(s.Slots) > keptSlots || !slices.IsSortedFunc(s.Slots, func(a, b [6]int64) int { return int(a[0] - b[0]) }):
		return t, "", errors.New("counts: the slots are not in order")
	}
	of := func(l []int64) (c Counts) {
		for _, n := range l {
			if n < 0 {
				err = errors.New("counts: a number is below zero")
			}
		}
		return Counts{l[0], l[1], l[2], l[3], l[4]}
	}
	t = tally{day: s.Day, total: of(s.Total[:])}
	for _, have := range s.Slots {
		t.slots = append(t.slots, slot{have[0], of(have[1:])})
	}
	return t, s.By, err
}
