package postgres_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/regate-dev/regate/engine/approval"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/record"
)

const update = "UPDATE orders SET total = total + 1 WHERE id = 10"

func (g *gateway) total() string { return g.value("SELECT total FROM orders WHERE id = 10") }

func (g *gateway) person(id string, groups ...string) approval.Identity {
	return approval.Identity{Subject: input.Principal{ID: id, Issuer: g.issuer.URL, Groups: groups}}
}

// held reads up to the NOTICE that a statement is held, and returns the
// approval's id.
func (r *raw) held() string {
	r.t.Helper()
	for {
		l := r.next()
		if id, ok := strings.CutPrefix(l, "notice statement held for approval "); ok {
			return strings.Fields(id)[0]
		}
		if l == "" || strings.HasPrefix(l, "ready") || strings.HasPrefix(l, "error") {
			r.t.Fatalf("not held: %q", l)
		}
	}
}

func (g *gateway) approve(id string) {
	g.t.Helper()
	_, err := g.desk.Approve(context.Background(), id, g.person("dba-1", "dba"), "")
	must(g.t, err)
}

func (g *gateway) state(id string) approval.State {
	g.t.Helper()
	ticket, err := g.desk.Get(context.Background(), id)
	must(g.t, err)
	return ticket.State
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func TestHeldThenApprovedRunsOnce(t *testing.T) {
	g := start(t)
	for _, mode := range []string{"simple", "extended"} {
		before := g.total()
		messages := []pgproto3.FrontendMessage{simple(update)}
		if mode == "extended" {
			messages = all(run(strings.Replace(update, "10", "$1::int", 1), "10"), sync_)
		}
		r := g.raw("agent-1")
		for i := range 2 { // the same statement again is held anew
			r.send(messages...)
			id := r.held()
			if got := g.total(); i == 0 && got != before {
				t.Fatalf("%s: it ran while it was held", mode)
			}
			for _, who := range []approval.Identity{g.person("agent-1", "dba"), g.person("someone", "others")} {
				if _, err := g.desk.Approve(t.Context(), id, who, ""); err == nil {
					t.Errorf("%s could approve", who.Subject.ID)
				}
			}
			g.approve(id)
			if got := r.until(1); !mentions(got, "complete UPDATE 1") {
				t.Fatalf("%s: %q", mode, got)
			}
			if s := g.state(id); s != approval.Consumed {
				t.Errorf("%s: ticket %s", mode, s)
			}
		}
		if got := g.value("SELECT total - 2 FROM orders WHERE id = 10"); got != before {
			t.Errorf("%s: before %s, after two runs less two %s", mode, before, got)
		}
	}
}

func TestHeldThenDenied(t *testing.T) {
	g := start(t)
	r := g.raw("agent-1")
	before := g.total()
	r.send(simple(update))
	_, err := g.desk.Deny(t.Context(), r.held(), g.person("dba-1", "dba"), "not today")
	must(t, err)
	if got := r.until(1); !mentions(got, "42501") || !mentions(got, "not today") || !mentions(got, "approval/denied") {
		t.Errorf("%q", got)
	}
	if got := r.do(simple("SELECT 1")); !mentions(got, `row "1"`) {
		t.Errorf("%q", got)
	}
	if g.total() != before {
		t.Error("it ran")
	}
}

func TestApprovedLater(t *testing.T) {
	g := start(t)
	r := g.raw("agent-1")
	ask := func(id string) (lines []string, ticket string) {
		lines = r.do(all(run("DELETE FROM orders WHERE id = $1::int", id), sync_)...)
		if _, rest, ok := strings.Cut(strings.Join(lines, "\n"), "approval: "); ok {
			ticket = strings.FieldsFunc(rest, func(c rune) bool { return c == ';' || c == '}' })[0]
		}
		return lines, ticket
	}
	lines, ticket := ask("11")
	if !mentions(lines, "approval/pending") || ticket == "" {
		t.Fatalf("%q", lines)
	}
	if _, other := ask("10"); other == ticket {
		t.Error("other parameters, same ticket")
	}
	if _, again := ask("11"); again != ticket {
		t.Error("the same statement, another ticket")
	}
	g.approve(ticket)
	// It is for the one who asked.
	if lines := g.raw("agent-2").do(all(run("DELETE FROM orders WHERE id = $1::int", "11"), sync_)...); mentions(lines, "complete DELETE") {
		t.Errorf("another agent used it: %q", lines)
	}
	if lines, _ := ask("11"); !mentions(lines, "complete DELETE 1") {
		t.Errorf("%q", lines)
	}
	if lines, next := ask("11"); !mentions(lines, "approval/pending") || next == ticket {
		t.Errorf("%q", lines)
	}
}

// Nobody is asked about a statement that would not run, because a later one of
// the same query is denied.
func TestDeniedBeforeHeld(t *testing.T) {
	g := start(t)
	r := g.raw("agent-1")
	for _, sql := range []string{update + "; DROP TABLE orders", update + "; SELECT 1; " + update + "; SET ROLE postgres"} {
		if got := r.do(simple(sql)); mentions(got, "held for approval") || mentions(got, "approval: ") || !mentions(got, "42501") {
			t.Errorf("%s: %q", sql, got)
		}
	}
	if open := g.desk.List(approval.Filter{}); len(open) > 0 {
		t.Errorf("%d were held", len(open))
	}
	// Later ones that are allowed, or held themselves, change nothing.
	r.send(simple(update + "; SELECT 1; " + strings.Replace(update, "10", "11", 1)))
	g.approve(r.held())
	g.approve(r.held())
	if got := r.until(1); strings.Count(strings.Join(got, "\n"), "complete UPDATE 1") != 2 {
		t.Errorf("%q", got)
	}
	// What was looked at and not recorded left no gap in the turns.
	last, turns := uint64(0), map[uint64]bool{}
	for _, e := range g.events() {
		if e.Kind != record.KindRequest {
			continue
		}
		q, err := record.DecodeRequest(e.Body)
		must(t, err)
		turns[q.Turn], last = true, max(last, q.Turn)
	}
	if len(turns) != int(last) {
		t.Errorf("%d turns, the last is %d", len(turns), last)
	}
}

// An approval is for the table that was shown, not for another of that name.
func TestApprovalIsForTheTable(t *testing.T) {
	g := start(t, withPolicy(permissive+`
require_approval contains {"id": "test/delete", "from": ["group:dba"], "count": 1, "ttl": "15m", "wait": "0s"} if input.action.verb == "delete"
`))
	r := g.raw("agent-1")
	r.do(simple("CREATE TEMP TABLE orders (id int)"))
	_, rest, _ := strings.Cut(strings.Join(r.do(simple("DELETE FROM orders")), "\n"), "approval: ")
	g.approve(strings.FieldsFunc(rest, func(c rune) bool { return c == ';' || c == '}' })[0])
	r.do(simple("DROP TABLE pg_temp.orders"))
	if got := r.do(simple("DELETE FROM orders")); mentions(got, "complete DELETE") {
		t.Errorf("an approval for a temporary table was used for another: %q", got)
	}
}

// What an agent sends while its statement is held must not change it.
func TestSentWhileHeld(t *testing.T) {
	g := start(t)
	conn := g.raw("agent-1")
	before := g.total()
	conn.send(simple(update))
	id := conn.held()
	evil := "DROP TABLE orders CASCADE; SELECT 1 --"
	evil += strings.Repeat("x", len(update)-len(evil))
	conn.send(simple(evil))
	conn.send(simple("SELECT 'kept'"))
	time.Sleep(100 * time.Millisecond) // it is read ahead meanwhile
	g.approve(id)
	got := conn.until(3)
	if !mentions(got[:2], "complete UPDATE 1") || !mentions(got, "test/no-drop") || !mentions(got, `row "kept"`) {
		t.Errorf("%q", got)
	}
	if g.value(fmt.Sprintf("SELECT total - 1 = %s FROM orders WHERE id = 10", before)) != "t" {
		t.Error("the update did not run once")
	}
}

func TestDisconnectWhileHeld(t *testing.T) {
	g := start(t)
	before := g.total()
	r := g.raw("agent-1")
	r.send(simple(update))
	id := r.held()
	_ = r.conn.Close()
	eventually(t, "the ticket is cancelled", func() bool { return g.state(id) == approval.Cancelled })
	if _, err := g.desk.Approve(t.Context(), id, g.person("dba-1", "dba"), ""); err == nil {
		t.Error("a cancelled ticket was approved")
	}
	if g.total() != before {
		t.Error("it ran")
	}
}

func TestCancelWhileHeld(t *testing.T) {
	g := start(t)
	before := g.total()
	for name, messages := range map[string][]pgproto3.FrontendMessage{
		"simple": {simple(update)}, "pipeline": all(run("SELECT 1"), run(update), run("SELECT 2"), sync_),
		"transaction": {simple("BEGIN; " + update)},
	} {
		conn := g.connect("agent-1")
		pid, key := conn.PgConn().PID(), conn.PgConn().SecretKey()
		r := hijack(t, conn)
		r.send(messages...)
		id := r.held()
		wrong := append([]byte{}, key...)
		wrong[0] ^= 1
		g.cancel(pid, wrong)
		if g.state(id) != approval.Pending {
			t.Fatal("a wrong key cancelled")
		}
		g.cancel(pid, key)
		if got := r.until(1); !mentions(got, "error ERROR 57014") || !mentions(got, "ready I") {
			t.Errorf("%s: %q", name, got)
		}
		eventually(t, "the ticket is cancelled", func() bool { return g.state(id) == approval.Cancelled })
		if got := r.do(simple("SELECT 1")); !mentions(got, `row "1"`) {
			t.Errorf("%s: %q", name, got)
		}
	}
	if g.total() != before {
		t.Error("it ran")
	}
}

func (g *gateway) cancel(pid uint32, key []byte) {
	g.t.Helper()
	conn, err := net.Dial("tcp", g.address)
	must(g.t, err)
	defer conn.Close()
	_, err = conn.Write(encode(g.t, &pgproto3.CancelRequest{ProcessID: pid, SecretKey: key}))
	must(g.t, err)
	_, _ = conn.Read(make([]byte, 1)) // it is closed once the request was acted on
}

func TestHeldInATransactionAndAPipeline(t *testing.T) {
	g := start(t)
	r := g.raw("agent-1")
	r.do(simple("BEGIN"), simple("INSERT INTO orders VALUES (50, 1, 1, '')"))
	r.send(all(run("SELECT 'a'"), run(update), run("SELECT 'b'"), sync_)...)
	g.approve(r.held())
	if got := r.until(1); !mentions(got, `row "a"`) || !mentions(got, "complete UPDATE 1") || !mentions(got, `row "b"`) || !mentions(got, "ready T") {
		t.Errorf("%q", got)
	}
	// A denial fails the transaction.
	r.send(simple(update))
	_, err := g.desk.Deny(t.Context(), r.held(), g.person("dba-1", "dba"), "no")
	must(t, err)
	if got := r.until(1); !mentions(got, "ready E") {
		t.Errorf("%q", got)
	}
	if got := r.do(simple("COMMIT")); !mentions(got, "ROLLBACK") {
		t.Errorf("%q", got)
	}
}

func TestTokenExpiresWhileHeld(t *testing.T) {
	g := start(t)
	before := g.total()
	conn := g.connectWith(g.config(g.issuer.Mint(g.issuer.Claims(audience, time.Now(), map[string]any{"sub": "agent-1", "exp": time.Now().Add(3 * time.Second).Unix()}))))
	r := hijack(t, conn)
	r.send(simple(update))
	id := r.held()
	if got := r.until(1); !mentions(got, "error FATAL 28000") || !mentions(got, "identity/expired") {
		t.Errorf("%q", got)
	}
	eventually(t, "the ticket is cancelled", func() bool { return g.state(id) == approval.Cancelled })
	if g.total() != before {
		t.Error("it ran")
	}
}

func TestPolicyChangesWhileHeld(t *testing.T) {
	g := start(t)
	before := g.total()
	r := g.raw("agent-1")
	r.send(simple(update))
	id := r.held()
	g.setPolicy(testPolicy + `
deny contains {"id": "test/frozen", "msg": "frozen"} if input.action.verb == "update"
`)
	g.approve(id)
	if got := r.until(1); !mentions(got, "test/frozen") {
		t.Errorf("%q", got)
	}
	if g.total() != before {
		t.Error("it ran")
	}
}

func TestApprovalsStoreDown(t *testing.T) {
	g := start(t)
	conn := g.connect("agent-1")
	g.desk.Close()
	must(t, g.state_.Close(context.Background()))
	if _, err := conn.Exec(t.Context(), update, pgx.QueryExecModeSimpleProtocol); err == nil {
		t.Error("it ran")
	}
	if v := g.total(); v != "5" {
		t.Errorf("total %s", v)
	}
}
