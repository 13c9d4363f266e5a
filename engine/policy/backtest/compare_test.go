package backtest

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/regate-dev/regate/engine/policy"
)

func ruling(t testing.TB, effect string, obligations string) *verdict {
	t.Helper()
	v, err := parseVerdict([]byte(`{"effect":"`+effect+`","reasons":[],"obligations":[`+obligations+`],"policy":{"bundles":{}}}`), "")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestCompare(t *testing.T) {
	mask := func(method, more string) string {
		return `{"id":"m","type":"mask","properties":{"field":"a.b.c","method":"` + method + `"` + more + `},"because":["x/mask"]}`
	}
	limit := func(what string) string {
		return `{"id":"limit","type":"limit","properties":{` + what + `},"because":["x/limit"]}`
	}
	approval := func(met string) string {
		return `{"id":"approval/a","type":"require_approval","properties":{"from":["any"],"count":1,"ttl":"15m0s","wait":"1m0s","msg":"","met":` + met + `},"because":["a"]}`
	}
	record := func(level string) string {
		return `{"id":"record","type":"record","properties":{"level":"` + level + `"},"because":["r"]}`
	}
	label := func(name string) string {
		return `{"id":"label/` + name + `","type":"label","properties":{"label":"` + name[5:] + `","scope":"task"},"because":["r"]}`
	}
	for _, c := range []struct {
		was, now    string // effect, then obligations
		wasO, nowO  string
		want, backs Kind // from was to now, and the other way
	}{
		{"deny", "allow", "", "", NewlyAllowed, NewlyDenied},
		{"deny", "require_approval", "", approval("false"), NewlyApprovable, NewlyDenied},
		{"require_approval", "allow", approval("false"), "", NewlyAllowed, NewlyHeld},
		{"require_approval", "allow", approval("false"), approval("true"), NewlyAllowed, NewlyHeld},
		{"allow", "allow", approval("true"), "", ApprovalDropped, NewlyHeld},
		{"allow", "deny", approval("true"), "", NewlyDenied, NewlyAllowed},
		{"allow", "allow", mask("redact", ""), "", NewlyUnmasked, NewlyMasked},
		{"allow", "allow", mask("redact", ""), mask("hash", ""), WeakerMask, StrongerMask},
		{"allow", "allow", mask("null", ""), mask("partial", `,"keep":2`), WeakerMask, StrongerMask},
		{"allow", "allow", mask("partial", `,"keep":2`), mask("partial", `,"keep":4`), WeakerMask, WeakerMask},
		{"allow", "allow", limit(`"rows":10`), limit(`"rows":11`), LimitRaised, LimitLowered},
		{"allow", "allow", limit(`"rows":10`), "", LimitRaised, LimitLowered},
		{"allow", "allow", limit(`"rows":10,"seconds":0.5`), limit(`"rows":10,"seconds":0.6`), LimitRaised, LimitLowered},
		{"allow", "allow", limit(`"bytes":10`), limit(`"bytes":11`), LimitRaised, LimitLowered},
		{"allow", "allow", record("sealed"), record("full"), RecordLowered, RecordRaised},
		{"allow", "allow", record("sealed"), "", RecordLowered, RecordRaised},
		{"allow", "allow", label("task/read"), "", LabelDropped, NewlyLabelled},
		{"allow", "allow", label("task/read"), label("task/read"), "", ""},
		{"deny", "deny", record("sealed"), "", "", ""},
		{"allow", "deny", mask("redact", ""), "", NewlyDenied, NewlyAllowed},
		{"allow", "allow", mask("redact", ""), mask("redact", ""), "", ""},
	} {
		was, now := ruling(t, c.was, c.wasO), ruling(t, c.now, c.nowO)
		for _, d := range []struct {
			diff diff
			want Kind
		}{{compare(was, now), c.want}, {compare(now, was), c.backs}, {compare(was, was), ""}, {compare(now, now), ""}} {
			var got []Kind
			for _, change := range d.diff.changes {
				got = append(got, change.kind)
			}
			if want := slices.DeleteFunc([]Kind{d.want}, func(k Kind) bool { return k == "" }); !slices.Equal(got, want) {
				t.Errorf("%s %s → %s %s: %v, want %v", c.was, c.wasO, c.now, c.nowO, got, want)
			}
		}
	}
	// Both limits change, one each way.
	got := compare(ruling(t, "allow", limit(`"rows":10,"bytes":5`)), ruling(t, "allow", limit(`"rows":5,"bytes":10`)))
	if len(got.changes) != 2 || got.changes[0].kind != LimitLowered || got.changes[1].kind != LimitRaised {
		t.Errorf("%+v", got)
	}
}

func TestParseKinds(t *testing.T) {
	for names, want := range map[string]int{"": 0, "newly-allowed": 1, "looser": 8, "tighter": 7, "any": len(kinds), "looser,tighter": 15, "candidate-error,newly-allowed,newly-allowed": 2} {
		got, err := ParseKinds(slices.DeleteFunc(strings.Split(names, ","), func(s string) bool { return s == "" }))
		if err != nil || len(got) != want {
			t.Errorf("%s: %v %v", names, got, err)
		}
	}
	for _, bad := range []string{"other", "", "newly", "LOOSER"} {
		if _, err := ParseKinds([]string{bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// FuzzVerdict: whatever is recorded as a ruling, it is refused or compares with
// itself as equal.
func FuzzVerdict(f *testing.F) {
	f.Add([]byte(`{"effect":"allow","reasons":[{"id":"a","effect":"allow","owner":"x"}],"obligations":[],"policy":{"bundles":{"m":{"digest":"d"}}}}`))
	f.Add([]byte(`{"effect":"deny","reasons":[{"id":"approval/pending","effect":"deny","owner":"engine"}],"obligations":[{"type":"require_approval"}],"policy":{"bundles":{}}}`))
	f.Add([]byte(`{"obligations":[{"type":"mask","properties":{"keep":1e400}}]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := parseVerdict(raw, "")
		if err != nil {
			return
		}
		again, err := parseVerdict(raw, v.effect.String())
		if v.ended { // its effect is what the policies said, not what is recorded
			again, err = parseVerdict(raw, policy.Deny.String())
		}
		if err != nil || !v.ended && !again.reproduces(v) {
			t.Fatal(err)
		}
		if d := compare(v, again); slices.ContainsFunc(d.changes, func(c change) bool { return c.kind != CandidateError }) && !duplicated(v) {
			t.Errorf("%s differs from itself: %+v", raw, d)
		}
		if !json.Valid([]byte(v.same)) {
			t.Errorf("%q", v.same)
		}
	})
}

// duplicated reports whether two masks are on one thing, which no ruling has.
func duplicated(v *verdict) bool {
	for i := 1; i < len(v.masks); i++ {
		if v.masks[i].On == v.masks[i-1].On {
			return true
		}
	}
	return false
}
