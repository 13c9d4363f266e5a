package postgres_test

import (
	"testing"

	"github.com/regate-dev/regate/proxies/postgres"
)

const byRole = `
import rego.v1

allow contains {"id": "t/connect"} if input.stage == "session"

allow contains {"id": "t/monitor"} if {
	input.target.role == "pg_monitor"
	input.complete
}

allow contains {"id": "t/change"} if {
	input.action.verb in {"set", "begin", "rollback", "commit"}
}
`

// TestActingRole: where an agent may choose among roles, policies are told the
// one that a statement runs as, or that it is not known.
func TestActingRole(t *testing.T) {
	g := start(t, withPolicy("package regate.policies.test.role\n"+byRole), func(s *settings) {
		s.role = postgres.Role{Allowed: []string{"pg_monitor"}}
	})
	r := g.raw("agent-1")
	for _, step := range []struct{ sql, want string }{
		{"SELECT count(*) FROM customers WHERE false", "engine/no-allow"}, // as the login role
		{"SET ROLE pg_monitor", "complete SET"},
		{"SELECT current_user", `row "pg_monitor"`},
		{"SELECT 1", `row "1"`},
		{"SET ROLE postgres", "postgres/guarded-setting"},
		{"SELECT current_user", `row "pg_monitor"`},
	} {
		if got := r.do(simple(step.sql)); !mentions(got, step.want) {
			t.Errorf("%s: %q", step.sql, got)
		}
	}
	// What a transaction changed is as it was after a rollback.
	r = g.raw("agent-1")
	for _, step := range []struct{ sql, want string }{
		{"BEGIN", "complete BEGIN"},
		{"SET ROLE pg_monitor", "complete SET"},
		{"SELECT current_user", `row "pg_monitor"`},
		{"ROLLBACK", "complete ROLLBACK"},
		{"SELECT current_user", "engine/no-allow"},
	} {
		if got := r.do(simple(step.sql)); !mentions(got, step.want) {
			t.Errorf("%s: %q", step.sql, got)
		}
	}
	// In one pipeline, it is not known.
	r = g.raw("agent-1")
	if got := r.do(all(run("SET ROLE pg_monitor"), run("SELECT current_user"), sync_)...); mentions(got, "row ") || !mentions(got, "engine/no-allow") {
		t.Errorf("pipeline: %q", got)
	}
}

// TestUnreadableText: what does not parse is refused and nothing else happens,
// also while the session's state is to be asked for.
func TestUnreadableText(t *testing.T) {
	for _, allowed := range [][]string{nil, {"pg_monitor"}} {
		g := start(t, withPolicy(permissive), func(s *settings) { s.role = postgres.Role{Allowed: allowed} })
		r := g.raw("agent-1")
		r.do(simple("SET search_path = public"))
		for range 2 {
			if got := r.do(simple("SELEC 1")); !mentions(got, "error ERROR") || !mentions(got, "ready I") {
				t.Errorf("%q", got)
			}
		}
		if got := r.do(simple("SELECT 1")); !mentions(got, `row "1"`) {
			t.Errorf("after it: %q", got)
		}
	}
}
