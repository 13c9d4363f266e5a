package usage

import (
	"math/rand/v2"
	"testing"
	"time"
)

// However counts are cut into pieces and merged, in whatever order, they are
// the same.
func TestMergeIsCommutative(t *testing.T) {
	start := time.Date(2026, 11, 23, 21, 0, 0, 0, time.UTC)
	r := rand.New(rand.NewPCG(3, 3))
	for range 200 {
		var direct tally
		pieces := make([]tally, 4)
		end := start
		for range 100 {
			// In order of time, as a clock goes.
			end = end.Add(time.Duration(r.IntN(4)) * time.Minute)
			c := Counts{Rows: r.Int64N(9) + 1, Bytes: 1}
			direct.add(end, c)
			pieces[r.IntN(len(pieces))].add(end, c)
		}
		r.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
		var merged tally
		for _, p := range pieces {
			merged.merge(p)
		}
		if got, want := merged.at(end), direct.at(end); got != want {
			t.Fatalf("%+v, want %+v", got, want)
		}
		if len(merged.slots) > keptSlots {
			t.Fatalf("%d slots", len(merged.slots))
		}
		back, by, err := decode(merged.encode("x.1"))
		if err != nil || by != "x.1" || back.at(end) != merged.at(end) {
			t.Fatal(back, by, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	var t tally
	t.add(time.Unix(1_763_900_000, 0), Counts{Rows: 1})
	f.Add(t.encode("a.1"))
	f.Add([]byte(`{"v":1,"slots":[[1,0,0,0,0,0],[1,0,0,0,0,0]]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		have, by, err := decode(raw)
		if err != nil {
			return
		}
		w := have.at(time.Unix(0, 0))
		for _, n := range w.Day.list() {
			if n < 0 {
				t.Fatal("below zero")
			}
		}
		back, _, err := decode(have.encode(by))
		if err != nil || back.at(time.Unix(0, 0)) != w {
			t.Fatal(back, err)
		}
		have.add(time.Unix(1_763_900_000, 0), Counts{Rows: 1})
	})
}
