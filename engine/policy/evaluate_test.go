package policy

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/regate-dev/regate/engine/input"
)

const endless = `deny contains {"id": "x"} if {
	some i in numbers.range(1, 1000000)
	some j in numbers.range(1, 1000000)
	i * j < 0
}
allow contains {"id": "y"} if true`

func TestTimeoutDenies(t *testing.T) {
	e := policyEngine(t, endless, func(c *Config) { c.Timeout = 20 * time.Millisecond })
	r := e.Evaluate(t.Context(), selectDoc())
	expect(t, r, Deny, "engine/timeout")
	if c := e.Counters(); c.Timeouts != 1 || c.Errors != 1 || c.CacheEntries != 0 {
		t.Errorf("counters %+v", c)
	}
}

func TestCancelledRequestDenies(t *testing.T) {
	e := policyEngine(t, endless, func(c *Config) { c.Timeout = time.Hour })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	// On a busy machine it may not even have begun.
	if r := e.Evaluate(ctx, selectDoc()); r.Effect != Deny || reasonIDs(r) != ReasonTimeout && reasonIDs(r) != ReasonError {
		t.Error(show(r))
	}
	expect(t, e.Evaluate(ctx, selectDoc()), Deny, "engine/error")
}

func TestPanicsDeny(t *testing.T) {
	e := policyEngine(t, `allow contains {"id": "x"} if input.action.verb == "select"`)
	broken := with(selectDoc(), func(d *input.Document) { d.Action = input.NewPart(make(chan int)) })
	for range 3 {
		r := e.Evaluate(t.Context(), broken)
		expect(t, r, Deny, "engine/error")
		if len(r.Errors) != 1 {
			t.Errorf("errors %q", r.Errors)
		}
	}
	expect(t, e.Evaluate(t.Context(), nil), Deny, "engine/error")
	expect(t, e.Evaluate(t.Context(), &input.Document{}), Deny, "engine/no-allow")
	expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "x")
}

// The error of an evaluation is for the operator: the reason that the agent
// sees does not change with it.
func TestErrorsDoNotLeakIntoReasons(t *testing.T) {
	e := policyEngine(t, `deny contains {"id": "x"} if to_number(input.subject.claims.email) > 1`)
	r := e.Evaluate(t.Context(), selectDoc())
	expect(t, r, Deny, "engine/error")
	raw, err := json.Marshal(r.Reasons)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), "acme.example") || strings.Contains(string(raw), "to_number") {
		t.Errorf("reasons %s", raw)
	}
}

func TestShadowPackagesAreReportedAndChangeNothing(t *testing.T) {
	shadow := func(body string) string {
		return "# METADATA\n# scope: package\n# custom:\n#   regate: {mode: shadow}\npackage regate.policies.s." + body + "\n"
	}
	dir := folder(t, map[string]string{
		"p.rego":     module("t.p", allowAll),
		"deny.rego":  shadow("deny\n\ndeny contains {\"id\": \"s.deny/no\"} if input.action.verb == \"select\""),
		"error.rego": shadow("error\n\ndeny contains {\"id\": \"s\"} if to_number(input.subject.id) > 1"),
		"mask.rego":  shadow("mask\n\nmask contains {\"id\": \"s.mask/m\", \"field\": \"a.b.c\", \"method\": \"null\"} if true"),
	})
	reports := make(chan ShadowReport, 10)
	logger, lines := logtest.NewNullLogger()
	e := newEngine(t, Config{Bundles: []Bundle{{Name: "t", URL: dir}}, OnShadow: func(r ShadowReport) { reports <- r }, Logger: logger})
	doc := selectDoc()
	r := e.Evaluate(t.Context(), doc)
	expect(t, r, Allow, "t.p/all")
	if len(r.Masks) != 0 || !slices.Equal(r.Shadow, []string{"s.deny", "s.error", "s.mask"}) {
		t.Errorf("%+v", r)
	}
	if e.Evaluate(t.Context(), doc) != r {
		t.Error("a shadow package keeps decisions out of the cache")
	}
	var got ShadowReport
	select {
	case got = <-reports:
	case <-time.After(time.Minute):
		t.Fatal("no report")
	}
	if got.Ruling != r || got.Document.Request != doc.Request || len(got.Shadow) != 3 {
		t.Fatalf("%+v", got)
	}
	if s := got.Shadow[0]; s.Package != "s.deny" || s.Effect != Deny || s.Reasons[0].ID != "s.deny/no" {
		t.Errorf("%+v", s)
	}
	if s := got.Shadow[1]; s.Package != "s.error" || s.Effect != Deny || len(s.Errors) != 1 {
		t.Errorf("%+v", s)
	}
	if s := got.Shadow[2]; s.Package != "s.mask" || s.Effect != Allow || len(s.Obligations) != 1 {
		t.Errorf("%+v", s)
	}
	var flips []string
	for _, l := range lines.AllEntries() {
		if l.Message == "a shadow policy would have decided otherwise" {
			flips = append(flips, fmt.Sprint(l.Data["package"], l.Data["effect"], l.Data["would"], l.Data["reasons"], l.Data["request"]))
		}
	}
	if want := []string{"s.denyallowdeny[s.deny/no]01J", "s.errorallowdeny[engine/error]01J"}; !slices.Equal(flips, want) {
		t.Errorf("logged %q, want %q", flips, want)
	}
	if !e.Reads(input.Postgres, "action", "verb") {
		t.Error("what a shadow package reads is not read")
	}
}

// Shadow packages that cannot keep up lose documents, never time.
func TestShadowNeverBlocks(t *testing.T) {
	hold := make(chan struct{})
	dir := folder(t, map[string]string{
		"p.rego": module("t.p", allowAll),
		"s.rego": "# METADATA\n# scope: package\n# custom:\n#   regate: {mode: shadow}\npackage regate.policies.s.s\n\ndeny contains {\"id\": \"s\"} if input.request.id == \"x\"\n",
	})
	e := newEngine(t, Config{Bundles: []Bundle{{Name: "t", URL: dir}}, Cache: CacheConfig{Disabled: true}, OnShadow: func(ShadowReport) { <-hold }})
	for range 3 * shadowQueue {
		expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/all")
	}
	close(hold)
	if e.Counters().ShadowDropped == 0 {
		t.Error("nothing was dropped")
	}
}

func TestReads(t *testing.T) {
	e := policyEngine(t, `deny contains {"id": "x"} if contains(input.sql.text, "x")
deny contains {"id": "y"} if input.session.client.tls == false`)
	for path, want := range map[string]bool{
		"sql": true, "sql.text": true, "sql.ast": false, "sql.text.more": true, "response": false, "session.client": true,
		"session.client.tls": true, "session.usage": false, "session": true, "time": false,
	} {
		if got := e.Reads(input.Postgres, strings.Split(path, ".")...); got != want {
			t.Errorf("reads %s: %v", path, got)
		}
	}
	whole := policyEngine(t, `deny contains {"id": "x"} if walk(input, [_, "secret"])`)
	if !whole.Reads(input.Postgres, "sql", "ast") || !whole.Reads(input.Postgres, "response") {
		t.Error("a policy that walks the input reads everything")
	}
	part := policyEngine(t, `deny contains {"id": "x"} if walk(input.sql, [_, "secret"])`)
	if !part.Reads(input.Postgres, "sql", "ast") || part.Reads(input.Postgres, "response") {
		t.Error("a policy that walks input.sql reads its ast and nothing beside")
	}
}

func TestStatusAndMetrics(t *testing.T) {
	e := newEngine(t, demoConfig(t))
	e.Evaluate(t.Context(), selectDoc())
	e.Evaluate(t.Context(), selectDoc())
	s := e.Status()
	if !s.Ready || s.Snapshot == 0 || len(s.Bundles) != 1 || s.Bundles[0].Revision != "demo-1" || len(s.Packages) != 8 {
		t.Errorf("%+v", s)
	}
	if _, err := json.Marshal(s); err != nil {
		t.Error(err)
	}
	if s.Counters.CacheHits != 1 || s.Counters.Evaluations != 1 {
		t.Errorf("%+v", s.Counters)
	}
	for _, p := range s.Packages {
		if !p.Cacheable {
			t.Errorf("the decisions of %s cannot be cached: it reads %v", p.Name, p.Reads)
		}
		// What a statement copies where is known from nothing else.
		if p.Name != "regate.sql_masked_copies" && strings.Contains(strings.Join(p.Reads, " "), "sql") {
			t.Errorf("%s reads %v: its decisions are cached by the whole statement", p.Name, p.Reads)
		}
	}
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(e); err != nil {
		t.Fatal(err)
	}
	if families, err := registry.Gather(); err != nil || len(families) != len(e.metrics)+1 {
		t.Errorf("%d metrics, %v", len(families), err)
	}
}

func TestRulingsOfOneBundleCarryItsDigest(t *testing.T) {
	e := newEngine(t, demoConfig(t))
	r := e.Evaluate(t.Context(), selectDoc())
	if b := r.Bundles["demo"]; b.Revision != "demo-1" || !strings.HasPrefix(b.Digest, "sha256:") || b.Digest != e.Status().Bundles[0].Digest {
		t.Errorf("%+v", b)
	}
	if (&Ruling{}).Effect != Deny {
		t.Error("the zero ruling does not deny")
	}
}
