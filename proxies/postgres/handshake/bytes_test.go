package handshake

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

func packet(code uint32, rest ...byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(rest)))
	b = binary.BigEndian.AppendUint32(b, code)
	return append(b, rest...)
}

func startupPacket(version uint32, pairs ...string) []byte {
	return packet(version, append([]byte(strings.Join(pairs, "\x00")), 0, 0)...)
}

func message(kind byte, body string) []byte {
	b := binary.BigEndian.AppendUint32([]byte{kind}, uint32(4+len(body)))
	return append(b, body...)
}

func saslInitial(name, data string) []byte {
	return message('p', name+"\x00"+string(binary.BigEndian.AppendUint32(nil, uint32(len(data))))+data)
}

// talk runs a handshake over an in-memory connection. The client writes each
// chunk in a write of its own; what it was sent comes back.
func talk(t testing.TB, front *Front, chunks ...[]byte) (c *Client, token, rest string, sent []byte, failure *Error) {
	t.Helper()
	ours, theirs := net.Pipe()
	heard := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(theirs)
		heard <- b
	}()
	written := make(chan struct{})
	go func() {
		defer close(written)
		for _, chunk := range chunks {
			if _, err := theirs.Write(chunk); err != nil {
				return
			}
		}
	}()
	c, err := front.Accept(context.Background(), ours)
	if err == nil && c.Cancel == nil {
		if token, err = c.Token(context.Background()); err == nil {
			if err = c.Welcome(map[string]string{"server_version": "15"}, 1, testKey[:c.SecretSize()], 'I'); err == nil {
				// What the client sent after the handshake is all still there.
				last := make(chan string)
				go func() {
					b, _ := io.ReadAll(c.Conn)
					last <- string(b)
				}()
				<-written
				_ = theirs.SetWriteDeadline(past) // EOF for us, still open for reading
				_ = c.Conn.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
				rest = <-last
			}
		}
	}
	if err != nil && !errors.As(err, &failure) {
		t.Fatalf("not an *Error: %v", err)
	}
	_ = ours.Close()
	sent = <-heard
	<-written
	_ = theirs.Close()
	return c, token, rest, sent, failure
}

// Every way to cut the stream in two, and one byte at a time, gives the same.
func TestSplit(t *testing.T) {
	type outcome struct {
		token, rest string
		params      map[string]string
		cancel      *CancelKey
		sent        string
	}
	for name, stream := range map[string][][]byte{
		"password": {packet(codeGSSENC), packet(codeSSL),
			startupPacket(version30, "user", "agent", "database", "orders", "options", `-c search_path=a\ b`, "application_name", "x"),
			message('p', goodToken+"\x00"), message('Q', "SELECT 1\x00")},
		"bearer": {startupPacket(3<<16|9999, "user", "agent", "_pq_.x", "1", "regate.auth", "oauthbearer"),
			saslInitial(mechanism, "n,,\x01auth=Bearer "+goodToken+"\x01\x01"), message('X', "")},
		"cancel": {packet(codeSSL), packet(codeCancel, 0, 0, 0, 7, 1, 2, 3, 4)},
	} {
		t.Run(name, func(t *testing.T) {
			all := bytes.Join(stream, nil)
			run := func(chunks ...[]byte) outcome {
				c, token, rest, sent, failure := talk(t, &Front{Plaintext: true, OAuthBearer: true}, chunks...)
				if failure != nil {
					t.Fatalf("%v", failure)
				}
				return outcome{token, rest, c.Params, c.Cancel, string(sent)}
			}
			want := run(stream...)
			if name != "cancel" && (want.token != goodToken || want.rest != string(stream[len(stream)-1])) {
				t.Fatalf("got %+v", want)
			}
			var single [][]byte
			for i := range all {
				single = append(single, all[i:i+1])
				if i > 0 {
					if got := run(all[:i], all[i:]); !reflect.DeepEqual(got, want) {
						t.Fatalf("cut at %d: got %+v, want %+v", i, got, want)
					}
				}
			}
			if got := run(single...); !reflect.DeepEqual(got, want) {
				t.Fatalf("byte by byte: got %+v, want %+v", got, want)
			}
		})
	}
}

// dribble writes in pieces of at most n bytes.
type dribble struct {
	net.Conn
	n int
}

func (d dribble) Write(b []byte) (int, error) {
	total := 0
	for len(b) > 0 {
		n, err := d.Conn.Write(b[:min(d.n, len(b))])
		total += n
		if err != nil {
			return total, err
		}
		b = b[n:]
	}
	return total, nil
}

func TestSplitTLS(t *testing.T) {
	a := newAuthority(t)
	r := a.reloader(t)
	for _, direct := range []bool{false, true} {
		for _, n := range []int{1, 2, 3, 5, 7, 11, 64} {
			s := serve(t, tlsFront(r))
			conn, err := net.Dial("tcp", s.addr())
			must(t, err)
			if !direct {
				_, err = dribble{conn, n}.Write(packet(codeSSL))
				must(t, err)
				var b [1]byte
				_, err = io.ReadFull(conn, b[:])
				must(t, err)
				if b[0] != 'S' {
					t.Fatalf("got %q", b)
				}
			}
			secured := tls.Client(dribble{conn, n}, &tls.Config{RootCAs: a.pool, ServerName: "orders.localhost", NextProtos: []string{alpn}})
			for _, b := range bytes.Join([][]byte{startupPacket(version32, "user", "agent"), message('p', goodToken+"\x00"), message('X', "")}, nil) {
				_, err = secured.Write([]byte{b})
				must(t, err)
			}
			_, err = io.ReadAll(secured)
			must(t, err)
			must(t, conn.Close())
			s.wait(t, 1)
			c := s.last(t)
			if s.failure() != "" || !c.TLS || c.SNI != "orders.localhost" || c.Database != "agent" || c.Version != version32 {
				t.Fatalf("%s %+v", s.failure(), c)
			}
			if got := secured.ConnectionState().NegotiatedProtocol; got != alpn {
				t.Fatalf("ALPN %q", got)
			}
		}
	}
}

// The exact bytes of an answer: the version first, then the question, then all
// of the welcome.
func TestBytesSent(t *testing.T) {
	front := &Front{Plaintext: true, OAuthBearer: true}
	encode := func(messages ...pgproto3.BackendMessage) string {
		var b []byte
		for _, m := range messages {
			var err error
			b, err = m.Encode(b)
			must(t, err)
		}
		return string(b)
	}
	welcome := func(key []byte) string {
		return encode(&pgproto3.AuthenticationOk{}, &pgproto3.ParameterStatus{Name: "server_version", Value: "15"},
			&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: key}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
	}
	password := encode(&pgproto3.AuthenticationCleartextPassword{})
	for _, test := range []struct {
		name    string
		version uint32
		pairs   []string
		want    string
		agreed  uint32
	}{
		{"3.0", version30, nil, password + welcome(testKey[:4]), version30},
		{"3.1 does not exist", 3<<16 | 1, nil, encode(&pgproto3.NegotiateProtocolVersion{NewestMinorProtocol: version30}) + password + welcome(testKey[:4]), version30},
		{"3.2", version32, nil, password + welcome(testKey), version32},
		{"newer", 3<<16 | 9999, nil, encode(&pgproto3.NegotiateProtocolVersion{NewestMinorProtocol: version32}) + password + welcome(testKey), version32},
		{"option", version30, []string{"_pq_.a", "1", "_pq_.b", "2"},
			encode(&pgproto3.NegotiateProtocolVersion{NewestMinorProtocol: version30, UnrecognizedOptions: []string{"_pq_.a", "_pq_.b"}}) + password + welcome(testKey[:4]), version30},
	} {
		c, token, _, sent, failure := talk(t, front, startupPacket(test.version, append(test.pairs, "user", "agent")...), message('p', goodToken+"\x00"))
		if failure != nil || token != goodToken || c.Version != test.agreed {
			t.Fatalf("%s: %v %q %+v", test.name, failure, token, c)
		}
		if string(sent) != test.want {
			t.Errorf("%s: sent %q, want %q", test.name, sent, test.want)
		}
	}
}

func TestBadBytes(t *testing.T) {
	plain := &Front{Plaintext: true, OAuthBearer: true}
	ok := startupPacket(version30, "user", "agent")
	bearer := startupPacket(version30, "user", "agent", "regate.auth", "oauthbearer")
	for _, test := range []struct {
		name   string
		front  *Front
		chunks [][]byte
		reason string
		code   string // of the ErrorResponse; "": nothing or no ErrorResponse is sent
	}{
		{"zero front", &Front{}, [][]byte{ok}, ReasonTLSRequired, codeInvalidAuth},
		{"HTTP", plain, [][]byte{[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")}, ReasonNotPostgres, ""},
		{"SSH", plain, [][]byte{[]byte("SSH-2.0-OpenSSH_9.2\r\n")}, ReasonNotPostgres, ""},
		{"length 0", plain, [][]byte{{0, 0, 0, 0}}, ReasonNotPostgres, ""},
		{"length 7", plain, [][]byte{{0, 0, 0, 7, 0, 0, 0}}, ReasonNotPostgres, ""},
		{"length too long", plain, [][]byte{binary.BigEndian.AppendUint32(nil, DefaultMaxStartup+5)}, ReasonNotPostgres, ""},
		{"negative length", plain, [][]byte{{0x80, 0, 0, 0}}, ReasonNotPostgres, ""},
		{"TLS without TLS", plain, [][]byte{{0x16, 3, 1}}, ReasonTLSUnavailable, ""},
		{"SSL twice", plain, [][]byte{packet(codeSSL), packet(codeSSL)}, ReasonProtocol, codeProtocolViolation},
		{"GSS twice", plain, [][]byte{packet(codeGSSENC), packet(codeGSSENC)}, ReasonProtocol, codeProtocolViolation},
		{"SSL with a body", plain, [][]byte{packet(codeSSL, 0)}, ReasonProtocol, codeProtocolViolation},
		{"short cancel", plain, [][]byte{packet(codeCancel, 0, 0, 0, 1, 2, 3, 4)}, ReasonProtocol, ""},
		{"long cancel", plain, [][]byte{packet(codeCancel, make([]byte, 261)...)}, ReasonProtocol, ""},
		{"protocol 2", plain, [][]byte{packet(2<<16, make([]byte, 288)...)}, ReasonVersion, codeUnsupported},
		{"protocol 4", plain, [][]byte{startupPacket(4<<16, "user", "agent")}, ReasonVersion, codeUnsupported},
		{"no user", plain, [][]byte{startupPacket(version30, "database", "x")}, ReasonUser, codeInvalidAuth},
		{"no parameters", plain, [][]byte{packet(version30, 0)}, ReasonUser, codeInvalidAuth},
		{"no body", plain, [][]byte{packet(version30)}, ReasonProtocol, codeProtocolViolation},
		{"no terminator", plain, [][]byte{packet(version30, []byte("user\x00agent\x00")...)}, ReasonProtocol, codeProtocolViolation},
		{"bytes after the terminator", plain, [][]byte{packet(version30, []byte("user\x00agent\x00\x00role\x00x\x00\x00")...)}, ReasonProtocol, codeProtocolViolation},
		{"name without a value", plain, [][]byte{packet(version30, []byte("user\x00agent\x00role\x00")...)}, ReasonProtocol, codeProtocolViolation},
		{"user twice", plain, [][]byte{startupPacket(version30, "user", "agent", "user", "admin")}, ReasonParameter, codeNotAllowed},
		{"setting twice in two cases", plain, [][]byte{startupPacket(version30, "user", "agent", "DateStyle", "ISO", "datestyle", "SQL")}, ReasonParameter, codeNotAllowed},
		{"closed at once", plain, nil, ReasonGone, ""},
		{"not a password", plain, [][]byte{ok, message('Q', "SELECT 1\x00")}, ReasonProtocol, codeProtocolViolation},
		{"terminate", plain, [][]byte{ok, message('X', "")}, ReasonGone, ""},
		{"password of length 3", plain, [][]byte{ok, {'p', 0, 0, 0, 3}}, ReasonProtocol, codeProtocolViolation},
		{"password without an end", plain, [][]byte{ok, message('p', "token")}, ReasonProtocol, codeProtocolViolation},
		{"two passwords in one", plain, [][]byte{ok, message('p', "a\x00b\x00")}, ReasonProtocol, codeProtocolViolation},
		{"empty password", plain, [][]byte{ok, message('p', "\x00")}, ReasonNoToken, codeInvalidPassword},
		{"long password", &Front{Plaintext: true, MaxPassword: 10}, [][]byte{ok, message('p', "0123456789\x00")}, ReasonOversized, codeProtocolViolation},
		{"impossible password", plain, [][]byte{ok, {'p', 0xff, 0xff, 0xff, 0xff}}, ReasonOversized, codeProtocolViolation},
		{"other mechanism", plain, [][]byte{bearer, saslInitial("SCRAM-SHA-256", "n,,n=,r=x")}, ReasonUnsupportedAuth, codeInvalidAuth},
		{"mechanism that nobody can read", plain, [][]byte{bearer, saslInitial("\x1b[31m\xff", "n,,")}, ReasonUnsupportedAuth, codeInvalidAuth},
		{"SASL without a length", plain, [][]byte{bearer, message('p', mechanism+"\x00\x00\x00")}, ReasonProtocol, codeProtocolViolation},
		{"SASL with a wrong length", plain, [][]byte{bearer, message('p', mechanism+"\x00\x00\x00\x00\x09abc")}, ReasonProtocol, codeProtocolViolation},
		{"impersonation", plain, [][]byte{bearer, saslInitial(mechanism, "n,a=admin,\x01auth=Bearer x\x01\x01")}, ReasonProtocol, codeProtocolViolation},
		{"channel binding", plain, [][]byte{bearer, saslInitial(mechanism, "p=tls-exporter,,\x01auth=Bearer x\x01\x01")}, ReasonProtocol, codeProtocolViolation},
		{"auth twice", plain, [][]byte{bearer, saslInitial(mechanism, "n,,\x01auth=Bearer x\x01auth=Bearer y\x01\x01")}, ReasonProtocol, codeProtocolViolation},
		{"no auth", plain, [][]byte{bearer, saslInitial(mechanism, "n,,\x01host=x\x01\x01")}, ReasonProtocol, codeProtocolViolation},
		{"auth without an end", plain, [][]byte{bearer, saslInitial(mechanism, "n,,\x01auth=Bearer x\x01")}, ReasonProtocol, codeProtocolViolation},
		{"basic auth", plain, [][]byte{bearer, saslInitial(mechanism, "n,,\x01auth=Basic x\x01\x01"), message('p', "\x01")}, ReasonBadToken, codeInvalidPassword},
		{"not a token", plain, [][]byte{bearer, saslInitial(mechanism, "n,,\x01auth=Bearer a b\x01\x01"), message('p', "\x01")}, ReasonBadToken, codeInvalidPassword},
		{"discovery", plain, [][]byte{bearer, saslInitial(mechanism, "n,,\x01auth=\x01\x01"), message('p', "\x01")}, ReasonNoToken, codeInvalidAuth},
	} {
		t.Run(test.name, func(t *testing.T) {
			chunks := test.chunks
			// The client hangs up after its last word, unless it is answered.
			ours, theirs := net.Pipe()
			sent := make(chan []byte)
			go func() {
				b, _ := io.ReadAll(theirs)
				sent <- b
			}()
			written := make(chan struct{})
			go func() {
				defer close(written)
				for _, chunk := range chunks {
					if _, err := theirs.Write(chunk); err != nil {
						return
					}
				}
				if test.reason == ReasonGone {
					_ = theirs.Close()
				}
			}()
			c, err := test.front.Accept(context.Background(), ours)
			if err == nil {
				_, err = c.Token(context.Background())
			}
			var e *Error
			if !errors.As(err, &e) || e.Reason != test.reason {
				t.Fatalf("got %v, want %s", err, test.reason)
			}
			got := <-sent
			<-written
			_ = theirs.Close()
			code := ""
			for b := got; len(b) >= 5 && b[0] != 'H'; {
				if b[0] == 'N' {
					b = b[1:]
					continue
				}
				size := int(binary.BigEndian.Uint32(b[1:]))
				if b[0] == 'E' {
					var response pgproto3.ErrorResponse
					must(t, response.Decode(b[5:1+size]))
					code = response.Code
					if unprintable(response.Message) != "" {
						t.Fatalf("message %q", response.Message)
					}
					if response.Severity != "FATAL" || response.Detail != "reason: "+test.reason || response.Message == "" {
						t.Fatalf("got %+v", response)
					}
				}
				b = b[1+size:]
			}
			if code != test.code {
				t.Fatalf("SQLSTATE %q, want %q; sent %q", code, test.code, got)
			}
		})
	}
}

// RFC 7628: a token that is no good is told in JSON first, and the error comes
// after the client's answer.
func TestBearerRefused(t *testing.T) {
	front := &Front{Plaintext: true, OAuthBearer: true, OAuthFirst: true, Discovery: "https://issuer.example/.well-known/openid-configuration", Scope: "openid regate"}
	s := serve(t, front)
	conn, err := net.Dial("tcp", s.addr())
	must(t, err)
	defer conn.Close()
	f := pgproto3.NewFrontend(conn, conn)
	_, err = conn.Write(startupPacket(version30, "user", "agent"))
	must(t, err)
	receive := func() pgproto3.BackendMessage {
		t.Helper()
		m, err := f.Receive()
		must(t, err)
		return m
	}
	if m, ok := receive().(*pgproto3.AuthenticationSASL); !ok || !reflect.DeepEqual(m.AuthMechanisms, []string{"OAUTHBEARER"}) {
		t.Fatalf("got %+v", m)
	}
	_, err = conn.Write(saslInitial(mechanism, "n,,\x01auth=bearer expired\x01\x01"))
	must(t, err)
	m, ok := receive().(*pgproto3.AuthenticationSASLContinue)
	if want := `{"status":"invalid_token","openid-configuration":"https://issuer.example/.well-known/openid-configuration","scope":"openid regate"}`; !ok || string(m.Data) != want {
		t.Fatalf("got %s", m.Data)
	}
	_, err = conn.Write(message('p', "\x01"))
	must(t, err)
	if m, ok := receive().(*pgproto3.ErrorResponse); !ok || m.Code != codeInvalidPassword || m.Detail != "reason: identity/expired" {
		t.Fatalf("got %+v", m)
	}
}

// A client that sends no first message is asked for it.
func TestBearerWithoutInitialResponse(t *testing.T) {
	_, token, _, sent, failure := talk(t, &Front{Plaintext: true, OAuthBearer: true, OAuthFirst: true},
		startupPacket(version30, "user", "agent"), message('p', mechanism+"\x00\xff\xff\xff\xff"), message('p', "n,,\x01auth=Bearer abc==\x01port=5432\x01\x01"))
	if failure != nil || token != "abc==" {
		t.Fatalf("%v %q %q", failure, token, sent)
	}
}

// Asking again inside TLS: GSS is refused, TLS in TLS is an error.
func TestRequestsInsideTLS(t *testing.T) {
	a := newAuthority(t)
	s := serve(t, tlsFront(a.reloader(t)))
	for _, test := range []struct {
		inner  uint32
		answer byte
		reason string
	}{{codeGSSENC, 'N', ""}, {codeSSL, 'E', ReasonProtocol}} {
		conn, err := tls.Dial("tcp", s.addr(), &tls.Config{RootCAs: a.pool, ServerName: "localhost", NextProtos: []string{alpn}})
		must(t, err)
		_, err = conn.Write(packet(test.inner))
		must(t, err)
		var b [1]byte
		_, err = io.ReadFull(conn, b[:])
		must(t, err)
		if b[0] != test.answer {
			t.Fatalf("got %q, want %q", b[0], test.answer)
		}
		if test.reason == "" {
			_, err = conn.Write(bytes.Join([][]byte{startupPacket(version30, "user", "agent"), message('p', goodToken+"\x00"), message('X', "")}, nil))
			must(t, err)
		}
		_, _ = io.ReadAll(conn)
		_ = conn.Close()
		s.wait(t, 1)
		if s.failure() != test.reason {
			t.Fatalf("got %q, want %q", s.failure(), test.reason)
		}
	}
}

// A client older than version 17 cancels in plaintext whatever its session
// uses.
func TestPlaintextCancel(t *testing.T) {
	a := newAuthority(t)
	c, _, _, sent, failure := talk(t, tlsFront(a.reloader(t)), packet(codeCancel, 0, 0, 0, 9, 4, 3, 2, 1))
	if failure != nil || c.Cancel == nil || c.Cancel.PID != 9 || string(c.Cancel.Secret) != "\x04\x03\x02\x01" || len(sent) > 0 {
		t.Fatalf("%v %+v %q", failure, c, sent)
	}
}

// The largest startup packet passes, one byte more does not.
func TestStartupSize(t *testing.T) {
	const fixed = "user\x00agent\x00application_name\x00"
	for extra, reason := range []string{"", ReasonNotPostgres} {
		name := strings.Repeat("x", DefaultMaxStartup-4-len(fixed)-2+extra)
		b := startupPacket(version30, "user", "agent", "application_name", name)
		if len(b) != 4+DefaultMaxStartup+extra {
			t.Fatalf("%d bytes", len(b))
		}
		_, _, _, _, failure := talk(t, &Front{Plaintext: true}, b, message('p', goodToken+"\x00"))
		if (failure == nil) != (reason == "") || failure != nil && failure.Reason != reason {
			t.Fatalf("%d: %v", extra, failure)
		}
	}
}

// Whatever comes, nothing but an *Error or a token, and no token in plaintext
// where that is not allowed.
func FuzzAccept(f *testing.F) {
	hello := startupPacket(version30, "user", "agent", "regate.auth", "oauthbearer")
	f.Add(bytes.Join([][]byte{packet(codeGSSENC), packet(codeSSL), hello, saslInitial(mechanism, "n,,\x01auth=Bearer x\x01\x01")}, nil), true)
	f.Add(bytes.Join([][]byte{startupPacket(version32, "user", "agent"), message('p', "token\x00")}, nil), false)
	f.Add(packet(codeCancel, 1, 2, 3, 4, 5, 6, 7, 8), true)
	f.Add([]byte("\x16\x03\x01\x00\x05\x01"), true)
	f.Add([]byte("GET / HTTP/1.1"), true)
	f.Fuzz(func(t *testing.T, stream []byte, plaintext bool) {
		conn := &replay{in: bytes.NewReader(stream)}
		c, err := (&Front{Plaintext: plaintext, OAuthBearer: true}).Accept(context.Background(), conn)
		if err == nil && c.Cancel == nil {
			var token string
			token, err = c.Token(context.Background())
			if err == nil && (!plaintext || token == "") {
				t.Fatalf("token %q", token)
			}
		}
		var e *Error
		if err != nil && (!errors.As(err, &e) || unprintable(e.Message) != "" || !conn.closed) {
			t.Fatalf("%#v, closed %v", err, conn.closed)
		}
	})
}

// replay is a client that has said everything and hears nothing.
type replay struct {
	net.Conn
	in     *bytes.Reader
	closed bool
}

func (r *replay) Read(b []byte) (int, error)  { return r.in.Read(b) }
func (r *replay) Write(b []byte) (int, error) { return len(b), nil }
func (r *replay) SetDeadline(time.Time) error { return nil }
func (r *replay) Close() error                { r.closed = true; return nil }

// Bytes put between the SSLRequest and the handshake reach nobody.
func TestPlaintextBeforeTLS(t *testing.T) {
	a := newAuthority(t)
	s := serve(t, tlsFront(a.reloader(t)))
	conn, err := net.Dial("tcp", s.addr())
	must(t, err)
	defer conn.Close()
	_, err = conn.Write(append(packet(codeSSL), startupPacket(version30, "user", "mallory")...))
	must(t, err)
	var b [1]byte
	_, err = io.ReadFull(conn, b[:])
	must(t, err)
	secured := tls.Client(conn, &tls.Config{RootCAs: a.pool, ServerName: "localhost"})
	if err := secured.Handshake(); err == nil {
		t.Fatal("the handshake went through")
	}
	_ = conn.Close()
	s.wait(t, 1)
	if s.failure() != ReasonTLS || len(s.clients) != 0 {
		t.Fatalf("%s, %d clients", s.failure(), len(s.clients))
	}
}

// Direct TLS is for PostgreSQL only when the client says so.
func TestDirectTLSWithoutALPN(t *testing.T) {
	a := newAuthority(t)
	for _, protocols := range [][]string{nil, {"http/1.1"}} {
		s := serve(t, tlsFront(a.reloader(t)))
		conn, err := tls.Dial("tcp", s.addr(), &tls.Config{RootCAs: a.pool, ServerName: "localhost", NextProtos: protocols})
		if err == nil {
			_, _ = conn.Write(startupPacket(version30, "user", "agent"))
			if b, _ := io.ReadAll(conn); len(b) > 0 {
				t.Fatalf("answered %q", b)
			}
			_ = conn.Close()
		}
		s.wait(t, 1)
		if s.failure() != ReasonTLS {
			t.Fatalf("%v: %s", protocols, s.failure())
		}
	}
}

// One that never finishes is let go at the deadline, whatever it drips.
func TestSlowClient(t *testing.T) {
	for _, test := range []struct {
		name   string
		before []byte
		drip   []byte
	}{
		{"silent", nil, nil},
		{"startup", nil, startupPacket(version30, "user", "agent", "application_name", strings.Repeat("x", 1000))},
		{"password", startupPacket(version30, "user", "agent"), message('p', strings.Repeat("x", 10_000)+"\x00")},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				go func() { _, _ = io.Copy(io.Discard, theirs) }()
				go func() {
					_, _ = theirs.Write(test.before)
					for _, b := range test.drip {
						time.Sleep(900 * time.Millisecond)
						if _, err := theirs.Write([]byte{b}); err != nil {
							return
						}
					}
				}()
				begun := time.Now()
				front := &Front{Plaintext: true, Timeout: 10 * time.Second}
				c, err := front.Accept(context.Background(), ours)
				if err == nil {
					_, err = c.Token(context.Background())
				}
				var e *Error
				if !errors.As(err, &e) || e.Reason != ReasonTimeout {
					t.Fatalf("got %v", err)
				}
				if took := time.Since(begun); took != 10*time.Second { // of the bubble's clock
					t.Fatalf("took %v", took)
				}
				_ = theirs.Close()
				time.Sleep(time.Second) // until the last drip
			})
		})
	}
}

// The end of the context ends a handshake at any point.
func TestContextEnds(t *testing.T) {
	for _, before := range [][]byte{nil, startupPacket(version30, "user", "agent")} {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, theirs) }()
			go func() { _, _ = theirs.Write(before) }()
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			c, err := (&Front{Plaintext: true}).Accept(ctx, ours)
			if err == nil {
				_, err = c.Token(ctx)
			}
			var e *Error
			if !errors.As(err, &e) || e.Reason != ReasonClosing || !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("got %v", err)
			}
			_ = theirs.Close()
			synctest.Wait()
		})
	}
}

// One that does not read its refusal does not hold the gateway.
func TestRefusedClientThatStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		go func() { _, _ = theirs.Write(startupPacket(version30, "user", "agent", "role", "x")) }()
		_, err := (&Front{Plaintext: true}).Accept(context.Background(), ours)
		var e *Error
		if !errors.As(err, &e) || e.Reason != ReasonParameter {
			t.Fatalf("got %v", err)
		}
		_ = theirs.Close()
	})
}

func TestRandomBytes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	front := &Front{Plaintext: true, OAuthBearer: true, OAuthFirst: true}
	for range 2000 {
		b := make([]byte, random.IntN(200))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		// Half of them get past the length word, a quarter past the version.
		if len(b) > 8 && random.IntN(2) == 0 {
			binary.BigEndian.PutUint32(b, uint32(len(b)))
			if random.IntN(2) == 0 {
				binary.BigEndian.PutUint32(b[4:], version32)
			}
		}
		ours, theirs := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		go func() {
			_, _ = theirs.Write(b)
			_ = theirs.Close()
		}()
		c, err := front.Accept(context.Background(), ours)
		if err == nil && c.Cancel == nil {
			t.Fatalf("%q was taken: %+v", b, c)
		}
		_ = ours.Close()
	}
}

// Without a reason the client is told that there is one, and no more.
func TestRefuseWithoutReason(t *testing.T) {
	ours, theirs := net.Pipe()
	go func() { _, _ = theirs.Write(startupPacket(version30, "user", "agent")) }()
	c, err := (&Front{Plaintext: true}).Accept(context.Background(), ours)
	must(t, err)
	sent := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(theirs)
		sent <- b
	}()
	c.Refuse(nil)
	var response pgproto3.ErrorResponse
	must(t, response.Decode((<-sent)[5:]))
	if response.Code != codeInternal || response.Detail != "reason: gateway/internal" {
		t.Fatalf("got %+v", response)
	}
	_ = theirs.Close()
}

// A welcome that would break the protocol is an error, not bytes.
func TestWelcomeChecks(t *testing.T) {
	for i, test := range []struct {
		version uint32
		status  map[string]string
		secret  []byte
		tx      byte
	}{
		{0, nil, testKey[:4], 'I'},
		{version30, nil, testKey, 'I'},
		{version32, nil, testKey[:3], 'I'},
		{version32, nil, make([]byte, 257), 'I'},
		{version30, nil, testKey[:4], 0},
		{version30, map[string]string{"a\x00b": "c"}, testKey[:4], 'I'},
		{version30, map[string]string{"a": "c\x00"}, testKey[:4], 'I'},
	} {
		ours, theirs := net.Pipe()
		sent := make(chan []byte)
		go func() {
			b, _ := io.ReadAll(theirs)
			sent <- b
		}()
		c := &Client{Conn: ours, front: &Front{}, Version: test.version}
		if err := c.Welcome(test.status, 1, test.secret, test.tx); err == nil {
			t.Errorf("%d: no error", i)
		}
		if b := <-sent; len(b) > 0 {
			t.Errorf("%d: sent %q", i, b)
		}
		_ = theirs.Close()
	}
}

func ExampleError() {
	fmt.Println(refused("startup parameter role is refused", ""))
	// Output: postgres/parameter-refused: startup parameter role is refused
}
