package httpproxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/regate-dev/regate/engine/identity"
	httpproxy "github.com/regate-dev/regate/proxies/http"
)

// talker is a real WebSocket server: it says back what it hears, and what its
// handshake had.
func talker(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/plain" {
		http.Error(w, "no socket here", http.StatusTeapot)
		return
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"chat"}, CompressionMode: websocket.CompressionContextTakeover, InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer conn.CloseNow()
	ctx := r.Context()
	hello := fmt.Sprintf("%s auth=%s extensions=%q", r.RequestURI, r.Header.Get("Authorization"), r.Header.Get("Sec-WebSocket-Extensions"))
	if conn.Write(ctx, websocket.MessageText, []byte(hello)) != nil {
		return
	}
	for {
		kind, b, err := conn.Read(ctx)
		if err != nil {
			return
		}
		if string(b) == "bye" {
			_ = conn.Close(4321, "as you wish")
			return
		}
		if conn.Write(ctx, kind, b) != nil {
			return
		}
	}
}

func (g *gateway) socket(path string, opts *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	if opts == nil {
		opts = &websocket.DialOptions{}
	}
	opts.HTTPHeader = http.Header{"Authorization": {"Bearer " + g.token("alice")}}
	ctx, cancel := context.WithTimeout(g.t.Context(), 30*time.Second)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(g.url, "http")+path, opts)
	if err == nil {
		g.t.Cleanup(func() { _ = conn.CloseNow() })
	}
	return conn, resp, err
}

func say(t testing.TB, conn *websocket.Conn, text string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	must(t, conn.Write(ctx, websocket.MessageText, []byte(text)))
	_, b, err := conn.Read(ctx)
	return string(b), err
}

func hear(t testing.TB, conn *websocket.Conn) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, b, err := conn.Read(ctx)
	must(t, err)
	return string(b)
}

func TestWebSocket(t *testing.T) {
	up := upstream(t, talker)
	g := start(t, preamble+`
allow contains {"id": "test/open"} if { input.action.verb == "get"; input.action.upgrade == "websocket" }
allow contains {"id": "test/send"} if { input.action.verb == "send"; not special }
special if input.http.body.json.cmd in {"drop", "mask"}
allow contains {"id": "test/send-mask"} if { input.action.verb == "send"; input.http.body.json.cmd == "mask" }
deny contains {"id": "test/secrets"} if count(input.action.secrets) > 0
mask contains {"id": "test/mail", "field": "email", "method": "redact"} if { input.stage == "request"; input.resource.path == "/fields" }
mask contains {"id": "test/cards", "detect": "credit_card", "method": "redact"} if { input.stage == "request"; input.resource.path != "/fields" }
mask contains {"id": "test/more", "detect": "iban", "method": "redact"} if input.http.body.json.cmd == "mask"
`, up.URL, func(c *httpproxy.Config) {
		c.Targets[0].Request.WebSocket = true
		c.Targets[0].Credential = &httpproxy.Credential{Header: "Authorization", Prefix: "Key ", Secret: func() (string, error) { return "upstream-secret", nil }}
	})
	open := func(path string) *websocket.Conn {
		t.Helper()
		conn, resp, err := g.socket(path, &websocket.DialOptions{Subprotocols: []string{"other", "chat"}, CompressionMode: websocket.CompressionContextTakeover})
		must(t, err)
		if conn.Subprotocol() != "chat" || resp.Header.Get("Sec-WebSocket-Extensions") != "" {
			t.Errorf("%q %v", conn.Subprotocol(), resp.Header)
		}
		// The gateway's credential is with the upstream, and does not come back;
		// nobody was offered compression; the path is as it was sent.
		if got := hear(t, conn); path != "/fields" && got != path+` auth=Key *************** extensions=""` {
			t.Errorf("%s", got)
		}
		return conn
	}
	conn := open("/a%20b?x=1")
	for text, want := range map[string]string{
		`{"cmd":"read"}`: `{"cmd":"read"}`, "just text": "just text", `["a"]`: `["a"]`, "": "",
	} {
		if got, err := say(t, conn, text); err != nil || got != want {
			t.Errorf("%s: %s %v", text, got, err)
		}
	}
	// The upstream's way of closing is the agent's.
	if _, err := say(t, conn, "bye"); websocket.CloseStatus(err) != 4321 || !strings.Contains(err.Error(), "as you wish") {
		t.Errorf("%v", err)
	}
	// What policy does not allow ends the connection, with the reason.
	for text, reason := range map[string]string{
		`{"cmd":"drop"}`: "engine/no-allow", `{"cmd":"read","cmd":"drop"}`: "http/malformed-json", `{cmd:"drop"}`: "http/malformed-json",
		`{"card":"4111 1111 1111 1111"}`: "test/secrets", `{"cmd":"mask"}`: "engine/unsupported-obligation",
	} {
		got, err := say(t, open("/x"), text)
		if websocket.CloseStatus(err) != websocket.StatusPolicyViolation || !strings.Contains(err.Error(), reason) || !strings.Contains(err.Error(), "decision=") {
			t.Errorf("%s: %s %v", text, got, err)
		}
	}
	// A message larger than is read.
	got, err := say(t, open("/x"), strings.Repeat("x", 1<<20+1))
	if websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
		t.Errorf("%s %v", got, err)
	}
}

func TestWebSocketMasks(t *testing.T) {
	said := make(chan string, 1)
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		kind := websocket.MessageText
		if r.URL.Path == "/binary" {
			kind = websocket.MessageBinary
		}
		_ = conn.Write(r.Context(), kind, []byte(<-said))
		_, _, _ = conn.Read(r.Context())
	})
	g := start(t, allowAll+`
mask contains {"id": "test/mail", "field": "email", "method": "redact"} if { input.stage == "request"; input.resource.path == "/fields" }
mask contains {"id": "test/cards", "detect": "credit_card", "method": "redact"} if input.stage == "request"
limit contains {"id": "test/bytes", "bytes": 10} if input.resource.path == "/limit"
`, up.URL, func(c *httpproxy.Config) { c.Targets[0].Request.WebSocket = true })
	for _, c := range []struct{ path, said, want, reason string }{
		{"/text", "pay with 4111 1111 1111 1111 now", "pay with [REDACTED:credit_card] now", ""},
		{"/json", `{"card": "4111111111111111", "n": 1.50}`, `{"card": "[REDACTED:credit_card]", "n": 1.50}`, ""},
		{"/fields", `[{"email": "jane@example.com"}]`, `[{"email": "[REDACTED]"}]`, ""},
		{"/fields", "jane@example.com", "", httpproxy.ReasonUnmaskable},
		{"/binary", "anything", "", httpproxy.ReasonUnmaskable},
		{"/limit", "eleven bytes", "", httpproxy.ReasonByteLimit},
	} {
		said <- c.said
		conn, _, err := g.socket(c.path, nil)
		must(t, err)
		_, b, err := conn.Read(t.Context())
		if string(b) != c.want || c.reason != "" && (websocket.CloseStatus(err) != websocket.StatusPolicyViolation || !strings.Contains(err.Error(), c.reason)) {
			t.Errorf("%s %s: %s %v", c.path, c.said, b, err)
		}
	}
}

func TestWebSocketEnds(t *testing.T) {
	gone := make(chan struct{}, 8)
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		talker(w, r)
		gone <- struct{}{}
	})
	g := start(t, allowAll, up.URL, func(c *httpproxy.Config) { c.Targets[0].Request.WebSocket = true })
	over := func(what string) {
		t.Helper()
		select {
		case <-gone:
		case <-time.After(30 * time.Second):
			t.Errorf("%s: the upstream's side is still open", what)
		}
	}
	conn, _, err := g.socket("/", nil)
	must(t, err)
	_ = conn.CloseNow() // without a word
	over("an agent that is gone")
	conn, _, err = g.socket("/", nil)
	must(t, err)
	hear(t, conn)
	must(t, g.revoked.Add(t.Context(), identity.Revocation{Kind: "subject", Value: "alice", Issuer: g.issuer.URL, Reason: "test", By: "test", At: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}))
	if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusPolicyViolation || !strings.Contains(err.Error(), "identity/revoked") {
		t.Errorf("%v", err)
	}
	over("a revoked token")
}

func TestWebSocketRefused(t *testing.T) {
	up := upstream(t, talker)
	g := start(t, preamble+`allow contains {"id": "test/open"} if input.resource.path == "/plain"`, up.URL, func(c *httpproxy.Config) { c.Targets[0].Request.WebSocket = true })
	for path, want := range map[string]string{"/plain": "502 " + httpproxy.ReasonNoUpgrade, "/denied": "403 engine/no-allow"} {
		_, resp, err := g.socket(path, nil)
		if err == nil {
			t.Fatalf("%s: a WebSocket was opened", path)
		}
		raw, _ := io.ReadAll(resp.Body)
		if got := fmt.Sprintf("%d %s", resp.StatusCode, answer{resp.StatusCode, resp.Header, string(raw), nil}.problem(t)["reason"]); got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
	g = start(t, allowAll, up.URL)
	if _, resp, err := g.socket("/", nil); err == nil || resp.StatusCode != 400 {
		t.Errorf("%v %v", resp, err)
	}
}

// A WebSocket through the forward proxy, in a tunnel, is decided the same way.
func TestWebSocketForward(t *testing.T) {
	secure, trust := secureUpstream(t, talker)
	g := start(t, preamble+`allow contains {"id": "test/a"} if { input.stage == "request"; not input.http.body.text == "drop" }`, secure.URL, func(c *httpproxy.Config) {
		c.Forward.TLS, c.Forward.Request.WebSocket = trust, true
	})
	conn, _, err := websocket.Dial(t.Context(), "wss"+strings.TrimPrefix(secure.URL, "https")+"/chat", &websocket.DialOptions{HTTPClient: g.through(g.token("alice"))})
	must(t, err)
	defer conn.CloseNow()
	if got := hear(t, conn); !strings.HasPrefix(got, "/chat ") {
		t.Errorf("%s", got)
	}
	if got, err := say(t, conn, "hello"); got != "hello" || err != nil {
		t.Errorf("%s %v", got, err)
	}
	if _, err := say(t, conn, "drop"); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("%v", err)
	}
}

// What a forward proxy's listener is asked is told apart, and nothing but an
// exchange answers or connects.
func TestForwardDispatch(t *testing.T) {
	plain := upstream(t, echo)
	g := start(t, allowAll, plain.URL)
	address := strings.TrimPrefix(g.proxy, "http://")
	u, err := url.Parse(plain.URL)
	must(t, err)
	auth := "Proxy-Authorization: Bearer " + g.token("alice") + "\r\n"
	conn, err := net.Dial("tcp", address)
	must(t, err)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	r := bufio.NewReader(conn)
	// One connection serves them all: a refusal does not end it.
	for _, c := range []struct {
		request string
		status  int
		reason  string
	}{
		{"GET / HTTP/1.1\r\nHost: " + u.Host + "\r\n" + auth + "\r\n", 400, httpproxy.ReasonForwardOnly},
		{"GET " + plain.URL + "/a HTTP/1.1\r\nHost: " + u.Host + "\r\n\r\n", 407, "identity/missing"},
		{"CONNECT " + u.Host + " HTTP/1.1\r\nHost: " + u.Host + "\r\n\r\n", 407, "identity/missing"},
		{"GET " + plain.URL + "/a HTTP/1.1\r\nHost: " + u.Host + "\r\n" + auth + "\r\n", 200, ""},
		{"CONNECT " + u.Host + " HTTP/1.1\r\nHost: other.example:443\r\n" + auth + "\r\n", 200, ""},
	} {
		_, err := io.WriteString(conn, c.request)
		must(t, err)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("%s: %v", c.request, err)
		}
		if resp.StatusCode == 200 && strings.HasPrefix(c.request, "CONNECT") {
			break // a tunnel: the Host of CONNECT goes nowhere
		}
		raw, err := io.ReadAll(resp.Body)
		must(t, err)
		a := answer{resp.StatusCode, resp.Header, string(raw), nil}
		if resp.StatusCode != c.status || c.reason != "" && a.problem(t)["reason"] != c.reason {
			t.Errorf("%s: %d %s", c.request, resp.StatusCode, raw)
		}
	}
}
