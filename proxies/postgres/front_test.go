package postgres_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/regate-dev/regate/proxies/postgres/handshake"
	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

// One listener serves several targets: by database name, or by TLS name.
func TestTwoTargets(t *testing.T) {
	db := pgtest.Shared(t)
	web := httptest.NewTLSServer(nil) // for its certificate, of example.com
	defer web.Close()
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	g := start(t, withPolicy(permissive+`
deny contains {"id": "test/other", "msg": "no"} if {
	input.target.name == "other"
	input.action.verb == "update"
}
`), func(s *settings) {
		s.front = handshake.Front{TLS: func() *tls.Config { return &tls.Config{Certificates: web.TLS.Certificates} }, OAuthBearer: true}
		s.other = db
	})
	must(t, db.Run(t.Context(), "CREATE TABLE orders (id int, total numeric); INSERT INTO orders VALUES (10, 99)"))
	for _, c := range []struct{ sni, database, auth, want string }{
		{"example.com", "shop", "password", "5"},
		{"example.com", "other", "password", "99"},
		{"example.com", "other", "oauthbearer", "99"},
		{"example.com", "shop", "oauthbearer", "5"},
		{"other.example", "anything", "password", "99"},
		{"other.example", "anything", "oauthbearer", "99"},
		{"example.com", "hidden", "password", "3D000"},
		{"example.com", db.Name, "password", "3D000"},
		{"example.com", "shop", "plaintext", "28000"},
		{"example.com", "shop", "bad token", "28000"},
		{"example.com", "shop", "bad bearer", "invalid_token"},
	} {
		config := g.config(g.token("agent-1"))
		config.Database = c.database
		config.TLSConfig = &tls.Config{ServerName: c.sni, RootCAs: roots, InsecureSkipVerify: c.sni != "example.com"} //nolint:gosec // a name that the certificate does not have
		token := config.Password
		switch c.auth {
		case "bad token":
			config.Password = token + "x"
		case "plaintext":
			config.TLSConfig = nil
		case "bad bearer":
			token += "x"
			fallthrough
		case "oauthbearer":
			config.RuntimeParams["regate.auth"] = "oauthbearer"
			config.Password = ""
			config.OAuthTokenProvider = func(context.Context) (string, error) { return token, nil }
		}
		conn, err := pgx.ConnectConfig(t.Context(), config)
		if err != nil {
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v: %v", c, err)
			}
			if strings.Contains(err.Error(), token) {
				t.Errorf("%+v: the error holds the token", c)
			}
			continue
		}
		rows, err := query(t, conn, "SELECT total FROM orders WHERE id = 10")
		if fmt.Sprint(rows) != "[["+c.want+"]]" {
			t.Errorf("%+v: %v, %v", c, rows, err)
		}
		_, err = query(t, conn, "UPDATE orders SET total = total")
		if denied := sqlState(err) == "42501"; denied != (c.want == "99") {
			t.Errorf("%+v: %v", c, err)
		}
		_ = conn.Close(t.Context())
	}
	// A connection that says nothing keeps nobody else out.
	for range 20 {
		silent, err := net.Dial("tcp", g.address)
		must(t, err)
		t.Cleanup(func() { _ = silent.Close() })
	}
	config := g.config(g.token("agent-1"))
	config.TLSConfig = &tls.Config{ServerName: "example.com", RootCAs: roots}
	g.connectWith(config)
}
