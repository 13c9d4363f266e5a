package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/engine/identity/identitytest"
)

// activities are what an agent may be doing when its session is cut.
var activities = map[string]func(g *gateway, r *raw){
	"idle":                func(*gateway, *raw) {},
	"idle in transaction": func(_ *gateway, r *raw) { r.do(simple("BEGIN; INSERT INTO orders VALUES (60, 1, 1, '')")) },
	"running":             func(g *gateway, r *raw) { r.send(simple("SELECT pg_sleep(60)")); g.busy() },
	"running, extended":   func(g *gateway, r *raw) { r.send(all(run("SELECT pg_sleep(60)"), sync_)...); g.busy() },
	"in the middle of a batch": func(_ *gateway, r *raw) {
		r.send(all(run("SELECT 1"), flush)...)
		for !strings.HasPrefix(r.next(), "complete") {
		}
	},
	"copy in": func(_ *gateway, r *raw) {
		r.send(simple("COPY orders FROM STDIN"))
		r.next()
		r.send(&pgproto3.CopyData{Data: []byte("61\t1\t1\t\n")})
	},
	"not reading": func(g *gateway, r *raw) {
		r.send(simple("SELECT repeat('x', 10000) FROM generate_series(1, 1000000)"))
		g.busy()
	},
}

// busy waits until the target is at work on what an agent has asked. Reading
// the catalogue, which the gateway does by itself, does not count.
func (g *gateway) busy() {
	g.t.Helper()
	eventually(g.t, "the target is at work", func() bool {
		return g.value("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid() AND query ~ 'pg_sleep|generate_series|RAISE'") != "0"
	})
}

// alone waits until no session but its own is left at the target.
func (g *gateway) alone() {
	g.t.Helper()
	eventually(g.t, "the target is left alone", func() bool {
		return g.value("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()") == "0"
	})
}

func TestRevocationCutsLiveSessions(t *testing.T) {
	g := start(t, withPolicy(permissive))
	n := 0
	for name, begin := range activities {
		for _, kind := range []string{"token", "subject", "client", "target"} {
			if kind != "subject" && name != "running" {
				continue
			}
			t.Run(name+", by "+kind, func(t *testing.T) {
				n++
				subject, id := fmt.Sprintf("agent-%d", n), fmt.Sprintf("token-%d", n)
				token := g.issuer.Mint(g.issuer.Claims(audience, time.Now(), map[string]any{"sub": subject, "jti": id, "client_id": "client-" + subject}))
				r := hijack(t, g.connectWith(g.config(token)))
				begin(g, r)
				rev := identity.Revocation{Kind: kind, Issuer: g.issuer.URL, Reason: "test", By: "test", At: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}
				if kind == "target" {
					rev.Issuer = ""
				}
				rev.Value = map[string]string{"token": id, "subject": subject, "client": "client-" + subject, "target": "shop"}[kind]
				must(t, g.revocations.Add(t.Context(), rev))
				got := r.until(99)
				if name != "not reading" && !mentions(got, "error FATAL 28000") {
					t.Errorf("%q", got[max(0, len(got)-3):])
				}
				g.alone()
				if _, err := pgx.ConnectConfig(t.Context(), g.config(token)); err == nil || !strings.Contains(err.Error(), "28000") {
					t.Errorf("connected again: %v", err)
				}
				for _, r := range g.revocations.List() {
					must(t, g.revocations.Remove(t.Context(), r.Key()))
				}
			})
		}
	}
	if got := g.value("SELECT count(*) FROM orders WHERE id IN (60, 61)"); got != "0" {
		t.Errorf("%s rows of transactions that were cut", got)
	}
}

func TestTokenExpires(t *testing.T) {
	g := start(t, withPolicy(permissive))
	short := func() *raw {
		return hijack(t, g.connectWith(g.config(g.issuer.Mint(g.issuer.Claims(audience, time.Now(), map[string]any{"exp": time.Now().Add(3 * time.Second).Unix()})))))
	}
	idle, running := short(), short()
	running.send(simple("SELECT pg_sleep(60)"))
	if got := running.until(9); !mentions(got, "error FATAL 28000") || !mentions(got, "identity/expired") {
		t.Errorf("running: %q", got)
	}
	time.Sleep(time.Until(time.Now().Add(300 * time.Millisecond)))
	idle.send(simple("SELECT 1"))
	if got := idle.until(9); !mentions(got, "error FATAL 28000") || !mentions(got, "identity/expired") || mentions(got, "row") {
		t.Errorf("idle: %q", got)
	}
}

func TestBadTokens(t *testing.T) {
	g := start(t)
	claims := func(change map[string]any) map[string]any { return g.issuer.Claims(audience, time.Now(), change) }
	foreign := identitytest.NewKey(t, "other", "RS256")
	for name, token := range map[string]string{
		"empty": "", "rubbish": "rubbish", "three dots": "a.b.c", "none": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.",
		"expired":        g.issuer.Mint(claims(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()})),
		"not yet":        g.issuer.Mint(claims(map[string]any{"nbf": time.Now().Add(time.Hour).Unix()})),
		"audience":       g.issuer.Mint(claims(map[string]any{"aud": "another"})),
		"issuer":         g.issuer.Mint(claims(map[string]any{"iss": "https://elsewhere.example"})),
		"foreign key":    foreign.Sign(t, map[string]any{"alg": "RS256", "kid": "other", "typ": "JWT"}, claims(nil)),
		"oversized":      strings.Repeat("x", 60<<10),
		"very oversized": strings.Repeat("x", 200<<10),
	} {
		c := g.config(token)
		c.Password = token
		_, err := pgx.ConnectConfig(t.Context(), c)
		var refused *pgconn.PgError
		if !asPg(err, &refused) || !strings.HasPrefix(refused.Code, "28") && name != "very oversized" {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(token) > 10 && strings.Contains(fmt.Sprintf("%+v", refused), token[len(token)-10:]) || strings.Contains(refused.Message, "postgres") {
			t.Errorf("%s: %+v", name, refused)
		}
	}
}

// In strict mode nothing passes that is not recorded.
func TestNothingPassesUnrecorded(t *testing.T) {
	g := start(t, withPolicy(permissive))
	reads, writes, copies := g.raw("agent-1"), g.raw("agent-2"), g.raw("agent-3")
	copies.send(simple("COPY orders FROM STDIN"))
	if l := copies.next(); l != "copyinresponse" {
		t.Fatal(l)
	}
	must(t, g.journal.Close(context.Background()))
	for name, r := range map[string]*raw{"read": reads, "write": writes} {
		sql := map[string]string{"read": "SELECT name FROM customers", "write": "INSERT INTO orders VALUES (70, 1, 1, '')"}[name]
		if got := r.sendUntilEnd(simple(sql)); mentions(got, "row") || mentions(got, "complete") || !mentions(got, "record/unavailable") {
			t.Errorf("%s: %q", name, got)
		}
	}
	got := copies.sendUntilEnd(&pgproto3.CopyData{Data: []byte("71\t1\t1\t\n")}, &pgproto3.CopyDone{})
	if mentions(got, "complete") || !mentions(got, "record/unavailable") {
		t.Errorf("copy: %q", got)
	}
	if v := g.value("SELECT count(*) FROM orders"); v != "2" {
		t.Errorf("%s orders", v)
	}
	if _, err := pgx.ConnectConfig(t.Context(), g.config(g.token("agent-4"))); err == nil {
		t.Error("a session was opened")
	}
}

func (r *raw) sendUntilEnd(messages ...pgproto3.FrontendMessage) []string {
	r.t.Helper()
	r.send(messages...)
	return r.until(1)
}

// A rule that fails is not a rule that does not apply.
func TestFailingPolicyDenies(t *testing.T) {
	g := start(t, withPolicy(permissive+`
deny contains {"id": "test/broken"} if {
	input.action.verb == "select"
	to_number(input.sql.text) > 1
}
`))
	r := g.raw("agent-1")
	if got := r.do(simple("SELECT name FROM customers")); mentions(got, "row") || !mentions(got, "engine/error") {
		t.Errorf("%q", got)
	}
}

func TestNoCatalogueNothingPasses(t *testing.T) {
	g := start(t, withPolicy(permissive), func(s *settings) { s.catalogAge, s.login = time.Nanosecond, "no_login_later" })
	r := g.raw("agent-1")
	if got := r.do(simple("SELECT name FROM customers")); !mentions(got, "row") {
		t.Fatalf("%q", got)
	}
	r.do(parse("s", "SELECT name FROM customers"), sync_)
	g.owner("ALTER ROLE " + g.login + " NOLOGIN")
	for _, messages := range [][]pgproto3.FrontendMessage{{simple("SELECT name FROM customers")}, {bind("", "s"), execute("", 0), sync_}} {
		if got := r.do(messages...); mentions(got, "row") || !mentions(got, "postgres/catalog-unavailable") {
			t.Errorf("%q", got)
		}
	}
}

func TestTargetEndsTheSession(t *testing.T) {
	g := start(t, withPolicy(permissive))
	for name, sql := range map[string]string{"running": "SELECT pg_sleep(60)", "idle": "", "streaming": "SELECT repeat('x', 1000), pg_sleep(0.001) FROM generate_series(1, 100000)"} {
		r := g.raw("agent-1")
		if sql != "" {
			r.send(simple(sql))
			g.busy()
		}
		g.owner("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		got := r.until(99)
		if last := got[max(0, len(got)-2):]; !mentions(last, "error FATAL 57P01") {
			t.Errorf("%s: %q", name, last)
		}
	}
}
