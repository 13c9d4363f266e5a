package handshake

import (
	"context"
	"crypto/tls"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// connect connects with pgx's driver and runs a query.
func connect(t *testing.T, s *server, query url.Values, change func(*pgconn.Config)) error {
	t.Helper()
	u := url.URL{Scheme: "postgres", User: url.UserPassword("agent", goodToken), Host: "localhost:" + s.port(), Path: "/orders", RawQuery: strings.ReplaceAll(query.Encode(), "+", "%20")}
	config, err := pgconn.ParseConfig(u.String())
	must(t, err)
	if change != nil {
		change(config)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	results, err := conn.Exec(ctx, "SELECT 1").ReadAll()
	if err != nil {
		return err
	}
	if got := string(results[0].Rows[0][0]); got != "1" {
		t.Fatalf("got %q", got)
	}
	return nil
}

func TestDriver(t *testing.T) {
	a := newAuthority(t)
	r := a.reloader(t)
	full := url.Values{"sslmode": {"verify-full"}, "sslrootcert": {a.file}}
	with := func(pairs ...string) url.Values {
		v := url.Values{}
		for k, values := range full {
			v[k] = values
		}
		for i := 0; i < len(pairs); i += 2 {
			v.Set(pairs[i], pairs[i+1])
		}
		return v
	}
	bearer := func(token string) func(*pgconn.Config) {
		return func(c *pgconn.Config) {
			c.RuntimeParams["regate.auth"] = "oauthbearer"
			c.OAuthTokenProvider = func(context.Context) (string, error) { return token, nil }
		}
	}
	for _, test := range []struct {
		name    string
		query   url.Values
		change  func(*pgconn.Config)
		front   func(*Front)
		version uint32
		tls     bool
		code    string // of the client's error
		text    string // in the client's error
		reason  string // in the client's error's detail
	}{
		{name: "TLS", query: full, version: version30, tls: true},
		{name: "protocol 3.2", query: with("max_protocol_version", "3.2"), version: version32, tls: true},
		{name: "at least protocol 3.2", query: with("min_protocol_version", "3.2"), version: version32, tls: true},
		{name: "direct TLS", query: with("sslnegotiation", "direct"), version: version30, tls: true},
		{name: "direct TLS, protocol 3.2", query: with("sslnegotiation", "direct", "max_protocol_version", "latest"), version: version32, tls: true},
		{name: "plaintext", query: url.Values{"sslmode": {"disable"}}, front: func(f *Front) { f.Plaintext = true }, version: version30},
		{name: "plaintext by preference, no TLS", query: url.Values{"sslmode": {"prefer"}}, front: func(f *Front) { f.Plaintext, f.TLS = true, nil }, version: version30},
		{name: "plaintext refused", query: url.Values{"sslmode": {"disable"}}, code: codeInvalidAuth, text: "encrypted", reason: ReasonTLSRequired},
		{name: "TLS refused", query: url.Values{"sslmode": {"require"}}, front: func(f *Front) { f.TLS = nil }, text: "refused TLS"},
		{name: "no certificate", query: full, front: func(f *Front) { f.TLS = func() *tls.Config { return nil } }, text: "TLS"},
		{name: "OAUTHBEARER", query: full, change: bearer(goodToken), front: func(f *Front) { f.OAuthBearer = true }, version: version30, tls: true},
		{name: "OAUTHBEARER first", query: full, change: func(c *pgconn.Config) { bearer(goodToken)(c); delete(c.RuntimeParams, "regate.auth") },
			front: func(f *Front) { f.OAuthBearer, f.OAuthFirst = true, true }, version: version30, tls: true},
		{name: "password where OAUTHBEARER is first", query: with("regate.auth", "password"),
			front: func(f *Front) { f.OAuthBearer, f.OAuthFirst = true, true }, version: version30, tls: true},
		{name: "OAUTHBEARER not offered", query: full, change: bearer(goodToken), code: codeInvalidAuth, reason: ReasonUnsupportedAuth},
		{name: "OAUTHBEARER with a bad token", query: full, change: bearer("bad"), front: func(f *Front) { f.OAuthBearer = true }, text: "invalid_token"},
		{name: "OAUTHBEARER without a token", query: full, change: bearer(""), front: func(f *Front) { f.OAuthBearer = true }, text: "invalid_token"},
		{name: "bad token", query: full, change: func(c *pgconn.Config) { c.Password = "bad" }, code: codeInvalidPassword, reason: "identity/expired"},
		{name: "no token", query: full, change: func(c *pgconn.Config) { c.Password = "" }, code: codeInvalidPassword, reason: ReasonNoToken},
		{name: "oversized token", query: full, change: func(c *pgconn.Config) { c.Password = strings.Repeat("x", DefaultMaxPassword) }, code: codeProtocolViolation, reason: ReasonOversized},
		{name: "only SCRAM accepted by the client", query: with("require_auth", "scram-sha-256"), text: "require_auth"},
		{name: "role", query: with("role", "admin"), code: codeNotAllowed, text: "role", reason: ReasonParameter},
		{name: "replication", query: with("replication", "database"), code: codeUnsupported, reason: ReasonReplication},
		{name: "unknown parameter", query: with("log_statement", "none"), code: codeNotAllowed, text: `"log_statement"`, reason: ReasonParameter},
	} {
		t.Run(test.name, func(t *testing.T) {
			front := tlsFront(r)
			if test.front != nil {
				test.front(front)
			}
			s := serve(t, front)
			err := connect(t, s, test.query, test.change)
			if test.version == 0 {
				if err == nil {
					t.Fatal("connected")
				}
				var server *pgconn.PgError
				if test.code != "" && (!errors.As(err, &server) || server.Code != test.code || server.Detail != "reason: "+test.reason || server.Severity != "FATAL") {
					t.Fatalf("got %v, %+v", err, server)
				}
				if !strings.Contains(err.Error(), test.text) {
					t.Fatalf("got %v", err)
				}
				if strings.Contains(err.Error(), goodToken) {
					t.Fatal("the token is in the error")
				}
				return
			}
			must(t, err)
			c := s.last(t)
			if c.Version != test.version || c.TLS != test.tls || c.User != "agent" || c.Database != "orders" {
				t.Fatalf("got %+v", c)
			}
			if test.tls && c.SNI != "localhost" {
				t.Fatalf("SNI %q", c.SNI)
			}
		})
	}
}

func TestDriverParameters(t *testing.T) {
	a := newAuthority(t)
	s := serve(t, tlsFront(a.reloader(t)))
	must(t, connect(t, s, url.Values{
		"sslmode": {"verify-full"}, "sslrootcert": {a.file}, "application_name": {"billing agent"},
		"timezone": {"UTC"}, "client_encoding": {"utf-8"}, "regate.purpose": {"refund order 7"},
		"options": {`-c regate.ticket=OPS-1 --statement-timeout=5s -c search_path=a,\ b`},
	}, nil))
	c := s.last(t)
	want := map[string]string{"application_name": "billing agent", "TimeZone": "UTC", "statement_timeout": "5s", "search_path": "a, b"}
	if !reflect.DeepEqual(c.Params, want) || c.Application != "billing agent" {
		t.Fatalf("params %v", c.Params)
	}
	if want := map[string]string{"purpose": "refund order 7", "ticket": "OPS-1"}; !reflect.DeepEqual(c.Asserted, want) {
		t.Fatalf("asserted %v", c.Asserted)
	}
	if !reflect.DeepEqual(c.Dropped, []string{"client_encoding"}) {
		t.Fatalf("dropped %v", c.Dropped)
	}
}

// The cancel key reaches the server whichever way the client cancels.
func TestDriverCancel(t *testing.T) {
	a := newAuthority(t)
	r := a.reloader(t)
	for _, query := range []url.Values{
		{"sslmode": {"verify-full"}, "sslrootcert": {a.file}},
		{"sslmode": {"verify-full"}, "sslrootcert": {a.file}, "max_protocol_version": {"3.2"}},
		{"sslmode": {"verify-full"}, "sslrootcert": {a.file}, "sslnegotiation": {"direct"}},
		{"sslmode": {"disable"}},
	} {
		front := tlsFront(r)
		front.Plaintext = true
		s := serve(t, front)
		u := url.URL{Scheme: "postgres", User: url.UserPassword("agent", goodToken), Host: "localhost:" + s.port(), Path: "/orders", RawQuery: strings.ReplaceAll(query.Encode(), "+", "%20")}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		conn, err := pgconn.Connect(ctx, u.String())
		must(t, err)
		must(t, conn.CancelRequest(ctx))
		c := s.last(t)
		if c.Cancel == nil || c.Cancel.PID != 77 || string(c.Cancel.Secret) != string(testKey[:len(c.Cancel.Secret)]) {
			t.Fatalf("%v: got %+v", query, c.Cancel)
		}
		want := 4
		if query.Has("max_protocol_version") {
			want = 32
		}
		if len(c.Cancel.Secret) != want || c.TLS != (query.Get("sslmode") == "verify-full") {
			t.Fatalf("%v: secret of %d bytes, tls %v", query, len(c.Cancel.Secret), c.TLS)
		}
		must(t, conn.Close(ctx))
		cancel()
	}
}

func TestPsql(t *testing.T) {
	a := newAuthority(t)
	r := a.reloader(t)
	run := func(s *server, env ...string) (string, error) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "psql", "-XAtw", "-c", "SELECT 1")
		cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "PGHOST=localhost", "PGPORT=" + s.port(), "PGUSER=agent", "PGDATABASE=orders"}, env...)
		out, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	full := []string{"PGSSLMODE=verify-full", "PGSSLROOTCERT=" + a.file}
	for _, test := range []struct {
		name     string
		env      []string
		out      []string
		fails    bool
		asserted map[string]string
	}{
		{name: "token", env: append(full, "PGPASSWORD="+goodToken), out: []string{"1"}},
		{name: "options", env: append(full, "PGPASSWORD="+goodToken, `PGOPTIONS=-c regate.purpose=a\ refund -c regate.step=2`, "PGTZ=UTC", "PGDATESTYLE=ISO, DMY", "PGCLIENTENCODING=SQL_ASCII"),
			out: []string{"1"}, asserted: map[string]string{"purpose": "a refund", "step": "2"}},
		{name: "plaintext", env: []string{"PGSSLMODE=disable", "PGPASSWORD=" + goodToken}, fails: true, out: []string{"FATAL:  this gateway takes encrypted connections only", "DETAIL:  reason: postgres/tls-required", "HINT:"}},
		{name: "bad token", env: append(full, "PGPASSWORD=bad"), fails: true, out: []string{"FATAL:  the token has expired", "DETAIL:  reason: identity/expired", "HINT:  Get a new token."}},
		{name: "no token", env: full, fails: true, out: []string{"no password supplied"}},
		{name: "role", env: append(full, "PGPASSWORD="+goodToken, "PGOPTIONS=-c role=admin"), fails: true, out: []string{"FATAL:  startup parameter role is refused", "DETAIL:  reason: postgres/parameter-refused"}},
		{name: "encoding", env: append(full, "PGPASSWORD="+goodToken, "PGCLIENTENCODING=GBK"), fails: true, out: []string{`client_encoding "GBK"`, "PGCLIENTENCODING"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, tlsFront(r))
			out, err := run(s, test.env...)
			if (err != nil) != test.fails {
				t.Fatalf("%v: %s", err, out)
			}
			for _, want := range test.out {
				if !strings.Contains(out, want) {
					t.Fatalf("got %q, want %q", out, want)
				}
			}
			if test.asserted != nil && !reflect.DeepEqual(s.last(t).Asserted, test.asserted) {
				t.Fatalf("asserted %v", s.last(t).Asserted)
			}
		})
	}
}
