package policy

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regate-dev/regate/engine/input"
)

// bundleOf is a bundle of one package regate.policies.t.p, with data of its own.
func bundleOf(body, revision string) map[string]string {
	return map[string]string{
		".manifest":                   fmt.Sprintf(`{"revision":%q,"roots":["regate/policies/t","regate/settings/t"]}`, revision),
		"p.rego":                      module("t.p", body),
		"regate/settings/t/data.json": fmt.Sprintf(`{"revision":%q}`, revision),
	}
}

// shadowEngine evaluates documents beside a shadow bundle; reports come in
// after the rulings.
func shadowEngine(t *testing.T, bundles ...Bundle) (*Engine, func() []ShadowRuling) {
	t.Helper()
	reports := make(chan ShadowReport, 64)
	e := newEngine(t, Config{Bundles: bundles, OnShadow: func(r ShadowReport) { reports <- r }})
	return e, func() []ShadowRuling {
		t.Helper()
		select {
		case r := <-reports:
			return r.Shadow
		case <-time.After(time.Minute):
			t.Fatal("no report")
			return nil
		}
	}
}

// settled waits until the worlds are made of what is enforced.
func settled(t *testing.T, e *Engine) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		base, ok := e.current.Load(), true
		for _, w := range e.worlds {
			s := w.inner.current.Load()
			ok = ok && s != nil && s.base == base.id
		}
		if ok {
			return
		}
	}
	t.Fatalf("the worlds do not follow: %+v", e.Status().Bundles)
}

// A candidate of the same bundle stands in for it, with its own data, decides
// nothing, and what it would change is counted by rule.
func TestShadowBundleStandsInForTheEnforcedOne(t *testing.T) {
	now := folder(t, bundleOf(`allow contains {"id": "t.p/read"} if data.regate.settings.t.revision == "one"
deny contains {"id": "t.p/no-drop"} if input.action.verb == "drop"`, "one"))
	next := folder(t, bundleOf(`allow contains {"id": "t.p/read"} if data.regate.settings.t.revision == "two"
deny contains {"id": "t.p/no-orders"} if "public.orders" in input.resource.table_names
mask contains {"id": "t.p/email", "field": "public.customers.email", "method": "redact"} if true`, "two"))
	e, report := shadowEngine(t, Bundle{Name: "shop", URL: now}, Bundle{Name: "next", URL: next, Shadow: true})
	settled(t, e)

	// It reads the tables, which what is enforced does not: it sees this one.
	expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/read")
	got := report()
	if len(got) != 1 || got[0].Bundle != "next" || got[0].Effect != Deny || got[0].Reasons[0].ID != "t.p/no-orders" {
		t.Fatalf("shadow %+v", got)
	}
	other := with(selectDoc(), func(d *input.Document) {
		d.Resource = input.NewPart(input.SQLResource{TableNames: []string{"public.customers"}})
	})
	expect(t, e.Evaluate(t.Context(), other), Allow, "t.p/read")
	if got := report(); got[0].Effect != Allow {
		t.Errorf("shadow %+v", got)
	}
	dropped := with(other, func(d *input.Document) { d.Action = input.NewPart(input.SQLAction{Verb: "drop"}) })
	expect(t, e.Evaluate(t.Context(), dropped), Deny, "t.p/no-drop")
	if got := report(); got[0].Effect != Allow {
		t.Errorf("shadow %+v", got)
	}

	s := e.Status()
	if len(s.Shadow) != 3 {
		t.Fatalf("flips %+v", s.Shadow)
	}
	var lines []string
	for _, f := range s.Shadow {
		lines = append(lines, fmt.Sprintf("%s %s→%s %s %s %d", f.Rule, f.From, f.To, f.Obligation, f.Change, f.Count))
	}
	all := strings.Join(lines, "\n")
	for _, want := range []string{"t.p/no-orders allow→deny   1", "t.p/no-drop deny→allow   1", "t.p/email allow→allow mask added 1"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	if b := s.Bundles[0]; b.Name != "next" || b.Mode != "shadow" || b.Revision != "two" || strings.Join(b.StandsInFor, " ") != "shop" || b.State != stateActive {
		t.Errorf("bundle %+v", b)
	}
	if len(s.Packages) != 2 || s.Packages[0].Bundle != "shop" || s.Packages[1].Mode != "shadow" || s.Packages[1].Bundle != "next" {
		t.Errorf("packages %+v", s.Packages)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(e)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var series []string
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "regate_policy_shadow_rule_") {
			continue
		}
		for _, m := range f.GetMetric() {
			line := strings.TrimPrefix(f.GetName(), "regate_policy_shadow_rule_")
			for _, l := range m.GetLabel() {
				line += " " + l.GetName() + "=" + l.GetValue()
			}
			series = append(series, fmt.Sprintf("%s %v", line, m.GetCounter().GetValue()))
		}
	}
	if got := strings.Join(series, "\n"); got != `flips_total bundle=next from=allow package= rule=t.p/no-orders to=deny 1
flips_total bundle=next from=deny package= rule=t.p/no-drop to=allow 1
obligations_total bundle=next change=added obligation=mask package= rule=t.p/email 1` {
		t.Errorf("series\n%s", got)
	}

	// Another revision in shadow begins to count anew; so does none of the total.
	writeFolder(t, next, bundleOf(`allow contains {"id": "t.p/read"} if true`, "three"))
	refresh(t, e)
	for _, f := range e.Status().Shadow {
		if f.Count != 0 || f.Total != 1 {
			t.Errorf("flip %+v", f)
		}
	}
}

// Nothing that a shadow bundle holds, lacks or gets wrong reaches an answer.
func TestShadowBundlesHaveNoEffect(t *testing.T) {
	enforced := map[string]string{
		".manifest": `{"roots":["regate/policies/t"]}`,
		"p.rego":    module("t.p", `allow contains {"id": "t.p/all"} if not data.settings.closed`),
	}
	for _, c := range []struct {
		name  string
		files map[string]string // nil: the folder is not there
	}{
		{"not there", nil},
		{"syntax", map[string]string{".manifest": `{"roots":["x"]}`, "p.rego": "package x\n\nallow if {"}},
		{"denies everything", map[string]string{".manifest": `{"roots":["regate/policies/s"]}`, "p.rego": module("s.p", `deny contains {"id": "s.p/no"} if true`)}},
		{"the same roots", map[string]string{".manifest": `{"roots":["regate/policies/t"]}`, "p.rego": module("t.p", `deny contains {"id": "t.p/no"} if true`)}},
		{"all roots", map[string]string{".manifest": `{}`, "p.rego": module("t.p", `deny contains {"id": "t.p/no"} if true`)}},
		{"data that the enforced ones read", map[string]string{".manifest": `{"roots":["settings"]}`, "settings/data.json": `{"closed":true}`}},
		{"a library that the enforced ones read", map[string]string{".manifest": `{"roots":["settings"]}`, "s.rego": "package settings\n\nclosed := true"}},
		{"a link out of it", map[string]string{".manifest": `{"roots":["settings"]}`, "link": ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			// A name before the enforced one's: it would be loaded first.
			dir := filepath.Join(t.TempDir(), "none")
			if c.files != nil {
				dir = folder(t, c.files)
			}
			if _, ok := c.files["link"]; ok {
				if err := os.Symlink("/etc/passwd", filepath.Join(dir, "data.json")); err != nil {
					t.Fatal(err)
				}
			}
			e := newEngine(t, Config{Bundles: []Bundle{{Name: "a", URL: dir, Shadow: true}, {Name: "b", URL: folder(t, enforced)}}})
			refresh(t, e)
			expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/all")
			if r := e.Evaluate(t.Context(), selectDoc()); len(r.Bundles) != 1 {
				t.Errorf("decided by %v", r.Bundles)
			}
		})
	}
}

// A shadow bundle that takes for ever holds nobody up, and Close ends it.
func TestShadowBundleThatNeverEnds(t *testing.T) {
	slow := `deny contains {"id": "s.p/slow"} if {
	some a in numbers.range(1, 3000)
	some b in numbers.range(1, 3000)
	some c in numbers.range(1, 3000)
	a * b * c == -1
	input.action.verb == "select"
}`
	e := newEngine(t, Config{Timeout: 10 * time.Minute, Bundles: []Bundle{
		{Name: "b", URL: folder(t, map[string]string{".manifest": `{"roots":["regate/policies/t"]}`, "p.rego": module("t.p", allowAll)})},
		{Name: "s", URL: folder(t, map[string]string{".manifest": `{"roots":["regate/policies/s"]}`, "p.rego": module("s.p", slow)}), Shadow: true},
	}, Cache: CacheConfig{Disabled: true}})
	settled(t, e)
	for range 3 * shadowQueue {
		expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/all")
	}
	if e.Counters().ShadowDropped == 0 {
		t.Error("nothing was dropped: who waited?")
	}
	// The evaluation that runs is cut off by Close.
	if err := e.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// The worlds follow what is enforced: what was refused for want of a library is
// taken when that comes, and what does not fit any more is out of service.
func TestWorldsFollowWhatIsEnforced(t *testing.T) {
	lib := folder(t, map[string]string{".manifest": `{"roots":["lib"]}`, "lib.rego": "package lib\n\nno(x) if x"})
	e, report := shadowEngine(t,
		Bundle{Name: "b", URL: folder(t, map[string]string{".manifest": `{"roots":["regate/policies/t"]}`, "p.rego": module("t.p", allowAll)})},
		Bundle{Name: "lib", URL: lib},
		Bundle{Name: "s", Shadow: true, URL: folder(t, map[string]string{".manifest": `{"roots":["regate/policies/s"]}`,
			"p.rego": module("s.p", "import data.lib\n\ndeny contains {\"id\": \"s.p/no\"} if lib.yes(input.action.verb == \"select\")")})})
	problems := func() string { return strings.Join(e.Status().Bundles[2].Errors, "\n") }
	if !strings.Contains(problems(), "undefined function data.lib.yes") {
		t.Errorf("problems %q", problems())
	}
	writeFolder(t, lib, map[string]string{"lib.rego": "package lib\n\nyes(x) if x"})
	refresh(t, e)
	settled(t, e)
	expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/all")
	if got := report(); len(got) != 1 || got[0].Effect != Deny {
		t.Errorf("shadow %+v", got)
	}
	writeFolder(t, lib, map[string]string{"lib.rego": "package lib\n\nno(x) if x"})
	refresh(t, e)
	for end := time.Now().Add(time.Minute); !strings.Contains(problems(), "does not fit") && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
	}
	if !strings.Contains(problems(), "does not fit the enforced bundles any more") {
		t.Errorf("problems %q", problems())
	}
	expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/all")
	if got := report(); len(got) != 0 {
		t.Errorf("shadow %+v", got)
	}
}

// `regate config check` checks a shadow bundle in its world, and the enforced
// ones as if it were not there.
func TestShadowBundlesAreChecked(t *testing.T) {
	enforced := folder(t, map[string]string{".manifest": `{"roots":["regate/policies/t","lib"]}`, "p.rego": module("t.p", allowAll), "lib.rego": "package lib\n\nyes(x) if x"})
	check := func(body string) []BundleProblem {
		t.Helper()
		shadow := folder(t, map[string]string{".manifest": `{"roots":["regate/policies/t/p"]}`, "p.rego": module("t.p", body)})
		return Config{Bundles: []Bundle{{Name: "a", URL: shadow, Shadow: true}, {Name: "b", URL: enforced}}}.CheckBundles(t.Context())
	}
	if problems := check(`deny contains {"id": "t.p/x"} if input.action.writes`); len(problems) != 0 {
		t.Errorf("problems %+v", problems)
	}
	problems := check(`deny contains {"id": "t.p/x"} if input.action.wrytes`)
	if len(problems) != 1 || problems[0].Bundle != "a" || problems[0].Line != 7 || !strings.HasSuffix(problems[0].File, "p.rego") {
		t.Errorf("problems %+v", problems)
	}
}

// Tools look at what decides: a shadow bundle, wherever it is, is not loaded.
func TestASetHasNoShadowBundles(t *testing.T) {
	s, err := LoadSet(t.Context(), SetOptions{Bundles: []Bundle{
		{Name: "b", URL: folder(t, map[string]string{".manifest": `{"roots":["regate/policies/t"]}`, "p.rego": module("t.p", allowAll)})},
		{Name: "next", URL: "oci://registry.example/acme/policies:v2", Shadow: true},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if refs := s.Bundles(); len(refs) != 1 || refs["b"].Digest == "" {
		t.Errorf("bundles %v", refs)
	}
}

// An id that is made from the input does not make counters without bound.
func TestFlipSeriesAreBounded(t *testing.T) {
	f := newFlips()
	for i := range 3 * maxFlipSeries {
		f.note("b", &Ruling{Effect: Allow}, &ShadowRuling{Effect: Deny, Reasons: []Reason{{ID: fmt.Sprint("t.p/", i)}}}, "r", time.Time{})
	}
	list := f.list()
	if len(list) != maxFlipSeries+1 || list[0].Rule != otherRule || list[0].Count != 2*maxFlipSeries {
		t.Errorf("%d series, first %+v", len(list), list[0])
	}
}
