package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

func TestMethods(t *testing.T) {
	with := func(user string, change func(*Target)) Target {
		target := target(user)
		change(&target)
		return target
	}
	plain := func(t *Target) { t.TLS = nil }
	certified := func(t *Target) {
		t.Password = nil
		t.TLS = &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{badge}}
	}
	for _, test := range []struct {
		name   string
		target Target
		reason string // "": it works
	}{
		{"SCRAM", target("by_scram"), ""},
		{"SCRAM without TLS", with("by_scram", plain), ""},
		{"SCRAM bound to the channel", with("by_scram", func(t *Target) { t.Auth = []Auth{AuthSCRAMPlus} }), ""},
		{"md5 where a bound channel is wanted", with("by_md5", func(t *Target) { t.Auth = []Auth{AuthSCRAMPlus} }), ReasonAuth},
		{"md5 not listed", target("by_md5"), ReasonAuth},
		{"md5", with("by_md5", func(t *Target) { t.Auth = []Auth{AuthMD5} }), ""},
		{"md5 without TLS", with("by_md5", func(t *Target) { t.Auth, t.TLS = []Auth{AuthSCRAM, AuthMD5}, nil }), ""},
		{"password not listed", target("by_password"), ReasonAuth},
		{"password", with("by_password", func(t *Target) { t.Auth = []Auth{AuthPassword} }), ""},
		{"password without TLS", with("by_password", func(t *Target) { t.Auth, t.TLS = []Auth{AuthPassword}, nil }), ReasonConfig},
		{"trust where a password is wanted", target("by_trust"), ReasonAuth},
		{"trust not listed", with("by_trust", func(t *Target) { t.Password = nil }), ReasonConfig},
		{"trust", with("by_trust", func(t *Target) { t.Password, t.Auth = nil, []Auth{AuthTrust} }), ""},
		{"trust on a Unix socket", with("by_trust", func(t *Target) {
			t.Address = filepath.Join(cluster.Socket, fmt.Sprintf(".s.PGSQL.%d", cluster.Port))
			t.Password, t.TLS, t.Auth = nil, nil, []Auth{AuthTrust}
		}), ""},
		{"certificate", with("by_cert", certified), ""},
		{"certificate and password", with("by_both", func(t *Target) {
			certified(t)
			t.Password = secret(password)
		}), ""},
		{"certificate missing", with("by_cert", func(t *Target) { t.Password, t.Auth = nil, []Auth{AuthTrust} }), ReasonAuth},
		{"certificate of another user", with("by_scram", certified), ReasonAuth},
		{"certificate not asked for", with("by_trust", func(t *Target) {
			certified(t)
			t.TLS.Certificates[0] = tls.Certificate{}
		}), ReasonAuth},
		{"wrong password", with("by_scram", func(t *Target) { t.Password = secret("guess") }), ReasonAuth},
		{"no such user", target("nobody"), ReasonAuth},
		{"rejected", target("rejected"), ReasonAuth},
		{"no such database", with("by_scram", func(t *Target) { t.Database = "nowhere" }), ReasonRefused},
		{"out of connections", target("full"), ReasonBusy},
		{"other authority", with("by_scram", func(t *Target) { t.TLS = &tls.Config{RootCAs: x509.NewCertPool()} }), ReasonTLS},
		{"other name", with("by_scram", func(t *Target) { t.TLS = &tls.Config{RootCAs: pool, ServerName: "db.example"} }), ReasonTLS},
		{"direct TLS to a server that has none", with("by_scram", func(t *Target) { t.DirectTLS = true }), ReasonTLS},
		{"no verification", with("by_scram", func(t *Target) { t.TLS = &tls.Config{InsecureSkipVerify: true} }), ReasonConfig},
		{"no password in the store", with("by_scram", func(t *Target) {
			t.Password = func() (string, error) { return "", errors.New("vault is sealed") }
		}), ReasonCredential},
		{"empty password", with("by_scram", func(t *Target) { t.Password = secret("") }), ReasonCredential},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := Dial(timeout(t), test.target, "", nil)
			if test.reason != "" {
				wants(t, err, test.reason)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			got, err := query(t, c, "SELECT session_user, current_user, (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), pg_backend_pid()")
			secured := "f"
			if test.target.TLS != nil {
				secured = "t"
			}
			if want := fmt.Sprintf("%s|%[1]s|%s|%d", test.target.User, secured, c.PID); err != nil || got != want {
				t.Fatalf("got %s, want %s, %v", got, want, err)
			}
			if c.TxStatus != 'I' || len(c.Secret) != 4 || c.Status["client_encoding"] != "UTF8" || c.Status["standard_conforming_strings"] != "on" || c.Status["server_version"] == "" {
				t.Fatalf("got %+v", c)
			}
		})
	}
}

// wants checks an error's reason, and that it tells no secrets.
func wants(t *testing.T, err error, reason string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Reason != reason {
		t.Fatalf("got %v, want %s", err, reason)
	}
	for _, s := range []string{password, "guess"} {
		if strings.Contains(fmt.Sprintf("%s %v %+v %#v", err, err, err, err), s) {
			t.Fatalf("the password is in %#v", err)
		}
	}
	var leaky *pgconn.ConnectError
	if errors.As(err, &leaky) {
		t.Fatal("the error holds the connection's configuration")
	}
	for _, s := range []string{"localhost", "127.0.0.1", "by_", "agents", "strangers", "nowhere", "vault", fmt.Sprint(cluster.Port)} {
		if strings.Contains(e.AgentMessage()+e.AgentHint(), s) {
			t.Fatalf("the agent is told %q", s)
		}
	}
	if len(e.Code()) != 5 || e.AgentMessage() == "" || e.AgentHint() == "" {
		t.Fatalf("got %q, %q, %q", e.Code(), e.AgentMessage(), e.AgentHint())
	}
}

func TestRole(t *testing.T) {
	c := dial(t, target("by_scram"), "agents", nil)
	const who = "SELECT session_user, current_user"
	if got, err := query(t, c, who); err != nil || got != "by_scram|agents" {
		t.Fatalf("%s, %v", got, err)
	}
	// The role is the session's default: nothing short of SET ROLE leaves it.
	for _, sql := range []string{"RESET ROLE", "RESET ALL", "DISCARD ALL"} {
		if _, err := query(t, c, sql); err != nil {
			t.Fatal(err)
		}
		if got, err := query(t, c, who); err != nil || got != "by_scram|agents" {
			t.Fatalf("after %s: %s, %v", sql, got, err)
		}
	}
	_, err := Dial(timeout(t), target("by_scram"), "strangers", nil)
	wants(t, err, ReasonRefused)
	_, err = Dial(timeout(t), target("by_scram"), "missing", nil)
	wants(t, err, ReasonRefused)
	_, err = Dial(timeout(t), target("by_scram"), "agents\x00user\x00postgres", nil)
	wants(t, err, ReasonConfig)
}

func TestSettings(t *testing.T) {
	target := target("by_scram")
	target.Settings = map[string]string{"statement_timeout": "7s", "DateStyle": "ISO, DMY"}
	c := dial(t, target, "", map[string]string{"application_name": "billing agent", "statement_timeout": "0", "datestyle": "SQL", "TimeZone": "Asia/Tokyo"})
	got, err := query(t, c, "SELECT current_setting('statement_timeout'), current_setting('datestyle'), current_setting('timezone'), current_setting('application_name'), current_setting('client_encoding'), current_setting('standard_conforming_strings')")
	if want := "7s|ISO, DMY|Asia/Tokyo|billing agent|UTF8|on"; err != nil || got != want {
		t.Fatalf("got %s, want %s, %v", got, want, err)
	}
	_, err = Dial(timeout(t), target, "", map[string]string{"DateStyle": "nonsense", "TimeZone": "Mars/Olympus"})
	wants(t, err, ReasonRefused)
	for _, name := range []string{"role", "ROLE", "session_authorization", "user", "database", "options", "replication", "client_encoding", "standard_conforming_strings", "_pq_.x", "", "a\x00b"} {
		_, err := Dial(timeout(t), target, "", map[string]string{name: "x"})
		wants(t, err, ReasonConfig)
		bad := target
		bad.Settings = map[string]string{name: "x"}
		if bad.Check() == nil {
			t.Errorf("setting %q passed", name)
		}
	}
	_, err = Dial(timeout(t), target, "", map[string]string{"application_name": "x\x00role\x00agents"})
	wants(t, err, ReasonConfig)
}

// The gateway's own queries log in by the same rules.
func TestConnect(t *testing.T) {
	c, err := Connect(timeout(t), target("by_scram"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	var user, encoding string
	if err := c.QueryRow(timeout(t), "SELECT current_user::text, current_setting('client_encoding')").Scan(&user, &encoding); err != nil || user != "by_scram" || encoding != "UTF8" {
		t.Fatalf("%s, %s, %v", user, encoding, err)
	}
	for reason, change := range map[string]func(*Target){
		ReasonAuth:        func(t *Target) { t.Password = secret("guess") },
		ReasonTLS:         func(t *Target) { t.TLS = &tls.Config{RootCAs: x509.NewCertPool()} },
		ReasonConfig:      func(t *Target) { t.User = "" },
		ReasonUnreachable: func(t *Target) { t.Address = "db.invalid:5432" },
		ReasonTimeout:     func(t *Target) { t.ConnectTimeout = 1 },
	} {
		bad := target("by_scram")
		change(&bad)
		_, err := Connect(timeout(t), bad)
		wants(t, err, reason)
	}
}

// Nothing of the environment reaches a login.
func TestEnvironment(t *testing.T) {
	for name, value := range map[string]string{
		"PGHOST": "db.example", "PGPORT": "1", "PGUSER": "postgres", "PGPASSWORD": cluster.Password, "PGDATABASE": "template1",
		"PGOPTIONS": "-c statement_timeout=1", "PGAPPNAME": "x", "PGTZ": "Asia/Tokyo", "PGSSLMODE": "disable", "PGSSLCERT": "/none", "PGSSLKEY": "/none",
		"PGSSLROOTCERT": "/none", "PGTARGETSESSIONATTRS": "standby", "PGCONNECT_TIMEOUT": "x", "PGREQUIREAUTH": "gss", "PGCHANNELBINDING": "disable",
		"PGMINPROTOCOLVERSION": "3.2", "PGMAXPROTOCOLVERSION": "3.2", "PGSSLNEGOTIATION": "direct", "PGSSLCERTMODE": "require", "PGPASSFILE": "/none",
	} {
		t.Setenv(name, value)
	}
	c := dial(t, target("by_scram"), "", nil)
	got, err := query(t, c, "SELECT current_user, current_database(), current_setting('statement_timeout'), current_setting('application_name')")
	if want := "by_scram|postgres|0|"; err != nil || got != want {
		t.Fatalf("got %s, want %s, %v", got, want, err)
	}
}

func TestServerWithoutTLS(t *testing.T) {
	d := pgtest.Shared(t)
	_, err := Dial(timeout(t), Target{Address: fmt.Sprintf("%s:%d", d.Host, d.Port), Database: d.Name, User: pgtest.Superuser,
		Password: secret(d.Password), TLS: &tls.Config{RootCAs: pool}}, "", nil)
	wants(t, err, ReasonTLS)
	if strings.Contains(err.Error(), d.Password) {
		t.Fatal("the password is in the error")
	}
}

// fake listens and gives each connection to handle.
func fake(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			handle(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
	})
	return l.Addr().String()
}

func TestBrokenServers(t *testing.T) {
	closed := fake(t, func(net.Conn) {})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := l.Addr().String()
	_ = l.Close()
	hang := func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
	after := func(answer string) func(net.Conn) {
		return func(conn net.Conn) {
			_, _ = conn.Read(make([]byte, 1024))
			_, _ = conn.Write([]byte(answer))
			hang(conn)
		}
	}
	for _, test := range []struct {
		name    string
		address string
		tls     bool
		wait    time.Duration
		reason  string
	}{
		{"down", free, true, 0, ReasonUnreachable},
		{"no such host", "db.invalid:5432", true, 0, ReasonUnreachable},
		{"closes at once", closed, false, 0, ReasonUnreachable},
		{"closes before TLS", closed, true, 0, ReasonTLS},
		{"hangs before TLS", fake(t, hang), true, 50 * time.Millisecond, ReasonTimeout},
		{"hangs in TLS", fake(t, after("S")), true, 50 * time.Millisecond, ReasonTimeout},
		{"hangs in the login", fake(t, hang), false, 50 * time.Millisecond, ReasonTimeout},
		{"hangs inside a message", fake(t, after("R\x00\x00\x00\x08\x00")), false, 50 * time.Millisecond, ReasonTimeout},
		{"plaintext in place of TLS", fake(t, after("Sgarbage garbage garbage")), true, 0, ReasonTLS},
		{"refuses TLS", fake(t, after("N")), true, 0, ReasonTLS},
		{"error in place of TLS", fake(t, after("E\x00\x00\x00\x05\x00")), true, 0, ReasonTLS},
		{"web server", fake(t, after("HTTP/1.1 400 Bad Request\r\n\r\n")), false, 0, ReasonProtocol},
		{"ready without a login", fake(t, after("Z\x00\x00\x00\x05I")), false, 0, ReasonAuth},
		{"login without a question", fake(t, after("R\x00\x00\x00\x08\x00\x00\x00\x00Z\x00\x00\x00\x05I")), false, 0, ReasonAuth},
		{"asks for the password itself", fake(t, after("R\x00\x00\x00\x08\x00\x00\x00\x03")), false, 0, ReasonAuth},
		{"asks for Kerberos", fake(t, after("R\x00\x00\x00\x08\x00\x00\x00\x07")), false, 0, ReasonAuth},
	} {
		t.Run(test.name, func(t *testing.T) {
			target := Target{Address: test.address, Database: "x", User: "by_x", Password: secret(password), ConnectTimeout: test.wait}
			if test.tls {
				target.TLS = &tls.Config{RootCAs: pool}
			}
			_, err := Dial(timeout(t), target, "", nil)
			wants(t, err, test.reason)
		})
	}
}

func TestCancelledDial(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	reached := fake(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 1024))
		cancel()
		_, _ = io.Copy(io.Discard, conn)
	})
	_, err := Dial(ctx, Target{Address: reached, Database: "x", User: "by_x", Password: secret(password)}, "", nil)
	wants(t, err, ReasonCancelled)
	_, err = Dial(ctx, target("by_scram"), "", nil)
	wants(t, err, ReasonCancelled)
}

// What the server says right behind ReadyForQuery is neither lost nor given
// twice, whoever has read it.
func TestBytesBehindLogin(t *testing.T) {
	const notice = "N\x00\x00\x00\x0bSNOTE\x00\x00"
	for _, cut := range []int{0, 1, 4, 5, 6, len(notice)} {
		reached := fake(t, func(conn net.Conn) {
			_, _ = conn.Read(make([]byte, 1024))
			_, _ = conn.Write([]byte("R\x00\x00\x00\x08\x00\x00\x00\x00S\x00\x00\x00\x08a\x00b\x00K\x00\x00\x00\x0c\x00\x00\x00\x07keysZ\x00\x00\x00\x05I" + notice[:cut]))
			_, _ = conn.Write([]byte(notice[cut:]))
		})
		c := dial(t, Target{Address: reached, Database: "x", User: "x", Auth: []Auth{AuthTrust}}, "", nil)
		rest, err := io.ReadAll(c.Conn)
		if got := string(c.Buffered) + string(rest); err != nil || got != notice {
			t.Fatalf("got %q, want %q, %v", got, notice, err)
		}
		if c.PID != 7 || string(c.Secret) != "keys" || c.Status["a"] != "b" {
			t.Fatalf("got %+v", c)
		}
	}
}

// A login whose first write is slow: pgconn then reads in the background, past
// the login, and what it has read is not lost either.
func TestBytesReadInBackground(t *testing.T) {
	const notice = "N\x00\x00\x00\x0bSNOTE\x00\x00"
	reached := fake(t, func(conn net.Conn) {
		_, _ = conn.Write([]byte("R\x00\x00\x00\x08\x00\x00\x00\x00Z\x00\x00\x00\x05I" + notice))
		time.Sleep(100 * time.Millisecond) // the client's write is stuck meanwhile
		_, _ = io.Copy(io.Discard, conn)
	})
	c := dial(t, Target{Address: reached, Database: "x", User: "x", Auth: []Auth{AuthTrust}}, "",
		map[string]string{"application_name": strings.Repeat("x", 64<<20)})
	if string(c.Buffered) != notice {
		t.Fatalf("buffered %q", c.Buffered)
	}
}

func TestFrames(t *testing.T) {
	stream := "R\x00\x00\x00\x08\x00\x00\x00\x00Z\x00\x00\x00\x05IN\x00\x00\x00\x04"
	for size := 1; size < 40; size++ {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			go func() { _, _ = theirs.Write([]byte(stream)) }()
			f := &frameReader{r: ours}
			var got []byte
			for len(got) < 15 { // both messages of the login
				b := make([]byte, size)
				n, err := f.Read(b)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, b[:n]...)
			}
			if string(got) != stream[:15] {
				t.Fatalf("got %q", got)
			}
			rest, err := f.drain(ours)
			if err != nil || (len(rest) != 0 && string(rest) != stream[15:]) {
				t.Fatalf("got %q, %v", rest, err)
			}
			_ = ours.Close()
			_ = theirs.Close()
		})
	}
	if _, err := (&frameReader{r: strings.NewReader(""), left: 1}).drain(nil); err == nil {
		t.Fatal("half a message passed")
	}
}

func TestCheck(t *testing.T) {
	good := target("by_scram")
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Target){
		"no address":             func(t *Target) { t.Address = "" },
		"no port":                func(t *Target) { t.Address = "localhost" },
		"port 0":                 func(t *Target) { t.Address = "localhost:0" },
		"port too high":          func(t *Target) { t.Address = "localhost:65536" },
		"no host":                func(t *Target) { t.Address = ":5432" },
		"not a socket":           func(t *Target) { t.Address = "/tmp/socket" },
		"TLS on a socket":        func(t *Target) { t.Address = "/tmp/.s.PGSQL.5432" },
		"no user":                func(t *Target) { t.User = "" },
		"no database":            func(t *Target) { t.Database = "" },
		"unknown auth":           func(t *Target) { t.Auth = []Auth{"gss"} },
		"SCRAM without password": func(t *Target) { t.Auth, t.Password = []Auth{AuthSCRAM}, nil },
		"binding without TLS":    func(t *Target) { t.Auth, t.TLS = []Auth{AuthSCRAMPlus}, nil },
		"binding or md5":         func(t *Target) { t.Auth = []Auth{AuthSCRAMPlus, AuthMD5} },
		"no certificate":         func(t *Target) { t.Auth = []Auth{AuthCertificate} },
		"direct without TLS":     func(t *Target) { t.DirectTLS, t.TLS = true, nil },
	} {
		bad := good
		change(&bad)
		if bad.Check() == nil {
			t.Errorf("%s passed", name)
		}
	}
}
