package postgres_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// The ready packs for every protocol, in front of a real PostgreSQL.

const change = "UPDATE orders SET total = total + 1 WHERE id = 10"

// Nothing runs before two different people have approved, neither of whom is
// the requester.
func TestTwoPeopleApprove(t *testing.T) {
	g := start(t, withPolicy(permissive), withPacks(t, `{"two_people": {"environments": ["test"], "approvers": ["group:dba", "subject:agent-1"]}}`, "../approvals/two_people"))
	before := g.total()
	r := g.raw("agent-1")
	if got := r.do(simple("SELECT 1")); mentions(got, "error") {
		t.Fatalf("a read is held: %q", got)
	}
	r.send(simple(change))
	id := r.held()
	approve := func(who string) error {
		_, err := g.desk.Approve(t.Context(), id, g.person(who, "dba"), "")
		return err
	}
	if approve("agent-1") == nil {
		t.Error("the requester could approve")
	}
	must(t, approve("ann"))
	if approve("ann") == nil {
		t.Error("the same person could approve twice")
	}
	if g.total() != before {
		t.Fatal("it ran after one approval")
	}
	must(t, approve("bob"))
	if got := r.until(1); !mentions(got, "complete UPDATE 1") {
		t.Fatalf("%q", got)
	}
	if g.total() == before {
		t.Error("it did not run")
	}
}

// Somebody who is in both groups stands for one of them.
func TestTwoGroupsApprove(t *testing.T) {
	g := start(t, withPolicy(permissive), withPacks(t, `{"two_groups": {"environments": ["test"]}}`, "../approvals/two_groups"))
	before := g.total()
	r := g.raw("agent-1")
	r.send(simple(change))
	id := r.held()
	_, err := g.desk.Approve(t.Context(), id, g.person("both", "dba", "security"), "")
	must(t, err)
	if g.total() != before {
		t.Fatal("one person stood for two groups")
	}
	_, err = g.desk.Approve(t.Context(), id, g.person("sec", "security"), "")
	must(t, err)
	if got := r.until(1); !mentions(got, "complete UPDATE 1") || g.total() == before {
		t.Fatalf("%q", got)
	}
}

// An approval from the requester's own team is none.
func TestNotTheOwnTeam(t *testing.T) {
	g := start(t, withPolicy(permissive), withPacks(t, `{"not_the_requester": {"environments": ["test"], "teams": ["shop"], "approvers": ["group:dba"]}}`, "../approvals/not_the_requester"))
	before := g.total()
	r := hijack(t, g.connect("agent-1", "shop"))
	r.send(simple(change))
	_, err := g.desk.Approve(t.Context(), r.held(), g.person("mate", "dba", "shop"), "")
	must(t, err)
	if got := r.until(1); !mentions(got, "reason: regate.not_the_requester/same-team") || g.total() != before {
		t.Fatalf("%q", got)
	}
}

// Office hours are read at each statement: nothing comes from the cache.
func TestOfficeHours(t *testing.T) {
	const never = `{"office_hours": {"environments": ["test"], "days": []}}`
	const always = `{"office_hours": {"environments": ["test"], "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "from": "00:00", "to": "24:00", "timezone": "Asia/Tokyo"}}`
	for _, c := range []struct {
		name, settings string
		open           bool
	}{{"closed", never, false}, {"open", always, true}} {
		t.Run(c.name, func(t *testing.T) {
			g := start(t, withPolicy(permissive), withPacks(t, c.settings, "../approvals/office_hours"))
			r := g.raw("agent-1")
			for range 2 {
				if got := r.do(simple("SELECT 1")); mentions(got, "error") {
					t.Fatalf("a read: %q", got)
				}
				before := g.total()
				got := r.do(simple(change))
				if c.open != mentions(got, "complete UPDATE 1") || c.open == mentions(got, "reason: regate.office_hours/closed") || c.open == (g.total() == before) {
					t.Fatalf("%q", got)
				}
			}
			if n := g.policy.Counters().CacheHits; n != 0 {
				t.Errorf("%d decisions came from the cache", n)
			}
		})
	}
}

const budgets = `{"budget": {
	"subject": {"day": {"rows": 10, "requests": 12, "sensitive": 6}, "hour": {}},
	"actor": {"day": {}}, "task": {"day": {"rows": 4}}, "exempt": ["staff"]}}`

func budgeted(t *testing.T, policy string) *gateway {
	return start(t, withPolicy(policy), withPacks(t, budgets, "../budgets/budget"))
}

// The rows of a day are those of all sessions; what is left limits a statement.
func TestBudgetOfRows(t *testing.T) {
	g := budgeted(t, permissive)
	rows := func(r *raw, n string) []string { return r.do(simple("SELECT generate_series(1, " + n + ")")) }
	one, two := g.raw("agent-1"), g.raw("agent-1")
	if got := rows(one, "6"); mentions(got, "error") {
		t.Fatalf("%q", got)
	}
	if got := rows(two, "5"); !mentions(got, "reason: limit/rows") {
		t.Fatalf("more than is left: %q", got)
	}
	if got := rows(g.raw("agent-1"), "1"); !mentions(got, "reason: regate.budget/rows") || !mentions(got, "used up") {
		t.Fatalf("used up: %q", got)
	}
	if got := rows(g.raw("agent-2"), "3"); mentions(got, "error") {
		t.Fatalf("another's budget: %q", got)
	}
	if got := rows(hijack(t, g.connect("agent-1", "staff")), "30"); mentions(got, "error") {
		t.Fatalf("exempt: %q", got)
	}
}

// Refused requests do not use the budget of requests up; those let through do.
func TestBudgetOfRequests(t *testing.T) {
	g := budgeted(t, permissive+`
deny contains {"id": "test/never"} if input.action.verb == "delete"
`)
	r := g.raw("agent-1")
	for range 20 {
		if got := r.do(simple("DELETE FROM orders WHERE id = 1")); !mentions(got, "reason: test/never") || mentions(got, "budget") {
			t.Fatalf("%q", got)
		}
	}
	for range 12 {
		if got := r.do(simple("SET application_name = 'x'")); mentions(got, "error") {
			t.Fatalf("%q", got)
		}
	}
	if got := r.do(simple("SET application_name = 'x'")); !mentions(got, "reason: regate.budget/requests") {
		t.Fatalf("%q", got)
	}
}

// Sensitive values are counted by what a mask names, by lineage.
func TestBudgetOfSensitiveValues(t *testing.T) {
	g := budgeted(t, masked)
	r := g.raw("agent-1")
	for _, sql := range []string{"SELECT id FROM customers", "SELECT email AS e FROM customers"} {
		if got := r.do(simple(sql)); mentions(got, "error") {
			t.Fatalf("%s: %q", sql, got)
		}
	}
	// Three values; then one, of which two columns know.
	if got := r.do(simple("SELECT lower(email) || ssn, id, ssn, email FROM customers WHERE id = 1")); mentions(got, "error") {
		t.Fatalf("%q", got)
	}
	if got := r.do(simple("SELECT id FROM customers WHERE id = 1")); !mentions(got, "reason: regate.budget/sensitive") || !mentions(got, "6 of 6") {
		t.Fatalf("%q", got)
	}
}

// An agent names its tasks itself: another name gives it another budget of
// tasks, but not more than the subject's.
func TestBudgetOfTasks(t *testing.T) {
	g := budgeted(t, permissive)
	as := func(task string) *raw {
		c := g.config(g.token("agent-1"))
		c.RuntimeParams["options"] = "-c regate.task=" + task
		conn, err := pgx.ConnectConfig(t.Context(), c)
		must(t, err)
		return hijack(t, conn)
	}
	if got := as("a").do(simple("SELECT generate_series(1, 4)")); mentions(got, "error") {
		t.Fatalf("%q", got)
	}
	if got := as("a").do(simple("SELECT 1")); !mentions(got, "the budget of rows for the task is used up: 4 of 4") {
		t.Fatalf("%q", got)
	}
	if got := as("b").do(simple("SELECT generate_series(1, 4)")); mentions(got, "error") {
		t.Fatalf("%q", got)
	}
	if got := as("c").do(simple("SELECT generate_series(1, 2)")); mentions(got, "error") {
		t.Fatalf("%q", got)
	}
	if got := as("d").do(simple("SELECT 1")); !mentions(got, "the budget of rows for the subject is used up: 10 of 10") {
		t.Fatalf("%q", got)
	}
}

// While nobody knows what was used, a budget denies.
func TestBudgetOfTheUnknown(t *testing.T) {
	g := budgeted(t, permissive)
	r := g.raw("agent-1")
	must(t, g.usage.Close(t.Context()))
	if got := r.do(simple("SELECT 1")); !mentions(got, "reason: regate.budget/unknown") || strings.Contains(strings.Join(got, " "), "row") {
		t.Fatalf("%q", got)
	}
}
