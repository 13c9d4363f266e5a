package postgres_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/regate-dev/regate/engine/record"
)

// events are what the journal holds of all sessions so far.
func (g *gateway) events() []record.Event {
	g.t.Helper()
	var all []record.Event
	must(g.t, g.journalLog.Read(g.t.Context(), func(frame record.Frame) error {
		return frame.Each(func(e record.Event, _ []byte) error {
			e.Body = bytes.Clone(e.Body)
			all = append(all, e)
			return nil
		})
	}))
	return all
}

// chunksOf are the recorded chunks that hold text, by the turn they belong to.
func (g *gateway) chunksOf(text string) map[uint64]int {
	g.t.Helper()
	found := map[uint64]int{}
	for _, e := range g.events() {
		if e.Kind != record.KindChunk {
			continue
		}
		c, err := record.DecodeChunk(e.Body)
		must(g.t, err)
		if n := strings.Count(string(c.Data), text); n > 0 {
			found[c.Turn] += n
		}
	}
	return found
}

// A notification carries what its sender put there: it is masked as a value
// of unknown origin, and recorded as part of the statement that listens.
func TestNotificationsAreMaskedAndRecorded(t *testing.T) {
	g := start(t, withPolicy(masked))
	r := g.raw("agent-1")
	r.do(simple("LISTEN c")) // turn 2, after the connection's
	for _, sql := range []string{
		"UPDATE customers SET name = name WHERE id > 0 AND pg_notify('c', email) IS NOT NULL",
		"SELECT pg_notify('c', string_agg(email, ',')) FROM customers",
		"BEGIN; NOTIFY c, 'ann@example.com'; COMMIT",
		"SELECT pg_notify('c', 'ann@example.com')",
	} {
		got := r.do(simple(sql))
		if !mentions(got, "notification c [REDACTED]") || mentions(got, "example.com") {
			t.Errorf("%s: %q", sql, got)
		}
	}
	g.owner("NOTIFY c, 'ann@example.com'")
	if l := r.next(); l != "notification c [REDACTED]" {
		t.Errorf("%q", l)
	}
	g.owner("NOTIFY c")
	if l := r.next(); l != "notification c " {
		t.Errorf("%q", l)
	}
	// Some are sent once a row; all of them are there, as turn 2's.
	if got := g.chunksOf("c\x00[REDACTED]\x00"); len(got) != 1 || got[2] < 5 {
		t.Errorf("recorded: %v", got)
	}
	if got := g.chunksOf("example.com"); len(got) != 0 {
		t.Errorf("recorded: %v", got)
	}
}

// Without a mask on a field, detectors look at payloads; without any mask they
// pass. What a session was ever shown with masks counts.
func TestNotificationsByPolicy(t *testing.T) {
	g := start(t, withPolicy(permissive+`
mask contains {"id": "test/card", "detect": "credit_card", "method": "redact"} if input.subject.id == "agent-2"
mask contains {"id": "test/email", "field": "public.customers.email", "method": "redact"} if {
	input.subject.id == "agent-3"
	"public.customers" in input.resource.table_names
}
`))
	sent := "paid with 4111 1111 1111 1111"
	for subject, want := range map[string]string{"agent-1": sent, "agent-2": "paid with [REDACTED:credit_card]", "agent-3": "[REDACTED]"} {
		r := g.raw(subject)
		r.do(simple("SELECT name FROM customers"), simple("LISTEN c"))
		g.owner(fmt.Sprintf("NOTIFY c, '%s'", sent))
		if l := r.next(); l != "notification c "+want {
			t.Errorf("%s: %q", subject, l)
		}
		if got := g.chunksOf("c\x00" + want + "\x00"); got[3] != 1 {
			t.Errorf("%s: recorded %v", subject, got)
		}
	}
}

// Sending what is stored is opaque: a policy that lets nothing opaque run
// stops it before it is sent.
func TestStoredValuesAreNotSent(t *testing.T) {
	g := start(t)
	r := g.raw("agent-1")
	r.do(simple("LISTEN c"))
	for _, sql := range []string{"SELECT pg_notify('c', email) FROM customers", "UPDATE customers SET name = name WHERE id > 0 AND pg_notify('c', email) IS NOT NULL"} {
		if got := r.do(simple(sql)); !mentions(got, "test/incomplete") || mentions(got, "notification") {
			t.Errorf("%s: %q", sql, got)
		}
	}
	if got := r.do(simple("SELECT pg_notify('c', 'x')")); !mentions(got, "notification c [REDACTED]") {
		t.Errorf("%q", got)
	}
}
