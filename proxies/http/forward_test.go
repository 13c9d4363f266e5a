package httpproxy_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	httpproxy "github.com/regate-dev/regate/proxies/http"
)

// secureUpstream is a real HTTPS server, and the pool that trusts it.
func secureUpstream(t testing.TB, handler http.HandlerFunc) (*httptest.Server, *tls.Config) {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return s, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

func TestForward(t *testing.T) {
	plain := upstream(t, echo)
	secure, trust := secureUpstream(t, echo)
	g := start(t, preamble+`allow contains {"id": "test/read"} if {
	input.action.verb == "get"
	input.http.mode == "forward"
	input.resource.host == "127.0.0.1"
	input.resource.path != "/denied"
}
mask contains {"id": "test/mail", "detect": "email", "method": "redact"} if input.stage == "request"
`, plain.URL, func(c *httpproxy.Config) {
		c.Forward.TLS = trust
		c.Forward.Egress.Ports = append(c.Forward.Egress.Ports, portOf(t, secure.URL))
	})
	client := g.through(g.token("alice"))
	get := func(u string) answer {
		t.Helper()
		req, err := http.NewRequest("GET", u, nil)
		must(t, err)
		if strings.HasPrefix(u, "http://") {
			req.Header.Set("Proxy-Authorization", "Bearer "+g.token("alice"))
		}
		req.Header.Set("Authorization", "Bearer mine")
		return send(t, client, req)
	}
	for _, base := range []string{plain.URL, secure.URL} {
		got := get(base + "/a?mail=1")
		if got.status != 200 || !strings.HasPrefix(got.body, "GET /a?mail=1\n") || !strings.Contains(got.body, "Authorization: Bearer mine") || strings.Contains(got.body, "Proxy-Authorization") {
			t.Errorf("%d %s", got.status, got.body)
		}
		if got := get(base + "/jane@example.com"); !strings.Contains(got.body, "[REDACTED:email]") || strings.Contains(got.body, "jane@") {
			t.Errorf("%d %s", got.status, got.body)
		}
		if got := get(base + "/denied"); got.status != 403 || got.problem(t)["reason"] != "engine/no-allow" {
			t.Errorf("%d %s", got.status, got.body)
		}
	}
	// Without a token there is no tunnel, and no request.
	bare := &http.Client{Transport: &http.Transport{Proxy: func(*http.Request) (*url.URL, error) { return url.Parse(g.proxy) }}}
	defer bare.CloseIdleConnections()
	if _, err := bare.Get(secure.URL); err == nil || !strings.Contains(err.Error(), "Proxy Authentication Required") {
		t.Errorf("%v", err)
	}
	if resp, err := bare.Get(plain.URL); err != nil || resp.StatusCode != 407 || resp.Header.Get("Proxy-Authenticate") == "" {
		t.Errorf("%v %v", resp, err)
	} else {
		resp.Body.Close()
	}
}

// tunnelTo opens a tunnel by hand.
func (g *gateway) tunnelTo(authority, sni string, early bool) (net.Conn, error) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.proxy, "http://"))
	must(g.t, err)
	g.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	head := fmt.Sprintf("CONNECT %s HTTP/1.1\r\nHost: %s\r\nProxy-Authorization: Bearer %s\r\n\r\n", authority, authority, g.token("alice"))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(g.ca)
	conf := &tls.Config{RootCAs: pool, ServerName: sni}
	if early {
		// The client's first words come in the packet of CONNECT.
		wrapped := &eager{Conn: conn, head: []byte(head)}
		inner := tls.Client(wrapped, conf)
		return inner, inner.Handshake()
	}
	_, err = conn.Write([]byte(head))
	must(g.t, err)
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, &http.Request{Method: "CONNECT"})
	must(g.t, err)
	if resp.StatusCode != 200 {
		return nil, fmt.Errorf("CONNECT: %s", resp.Status)
	}
	inner := tls.Client(conn, conf)
	return inner, inner.Handshake()
}

type eager struct {
	net.Conn
	head []byte
	r    *bufio.Reader
}

func (e *eager) Write(p []byte) (int, error) {
	if e.head == nil {
		return e.Conn.Write(p)
	}
	_, err := e.Conn.Write(append(e.head, p...))
	e.head = nil
	return len(p), err
}

func (e *eager) Read(p []byte) (int, error) {
	if e.r == nil {
		e.r = bufio.NewReader(e.Conn)
		if _, err := http.ReadResponse(e.r, &http.Request{Method: "CONNECT"}); err != nil {
			return 0, err
		}
	}
	return e.r.Read(p)
}

func TestForwardTunnels(t *testing.T) {
	secure, trust := secureUpstream(t, echo)
	g := start(t, allowAll, secure.URL, func(c *httpproxy.Config) { c.Forward.TLS = trust })
	authority := strings.TrimPrefix(secure.URL, "https://")
	ask := func(conn net.Conn, host string) *http.Response {
		t.Helper()
		_, err := fmt.Fprintf(conn, "GET /x HTTP/1.1\r\nHost: %s\r\n\r\n", host)
		must(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		must(t, err)
		return resp
	}
	conn, err := g.tunnelTo(authority, "127.0.0.1", false)
	must(t, err)
	if resp := ask(conn, authority); resp.StatusCode != 200 {
		t.Errorf("%s", resp.Status)
	}
	conn, err = g.tunnelTo(authority, "127.0.0.1", true)
	must(t, err)
	if resp := ask(conn, authority); resp.StatusCode != 200 {
		t.Errorf("an early ClientHello: %s", resp.Status)
	}
	conn, err = g.tunnelTo(authority, "127.0.0.1", false)
	must(t, err)
	if resp := ask(conn, "evil.example"); resp.StatusCode != 421 {
		t.Errorf("another Host: %s", resp.Status)
	}
	conn, err = g.tunnelTo(authority, "evil.example", false)
	must(t, err)
	if resp := ask(conn, authority); resp.StatusCode != 421 {
		t.Errorf("another SNI: %s", resp.Status)
	}
	// Certificates are of the authority, short-lived, and for the host alone.
	leaf := conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
	if leaf.DNSNames[0] != "evil.example" || len(leaf.DNSNames) != 1 || time.Until(leaf.NotAfter) > 25*time.Hour {
		t.Errorf("%v until %s", leaf.DNSNames, leaf.NotAfter)
	}
	// A tunnel without an authority is none.
	g = start(t, allowAll, secure.URL, func(c *httpproxy.Config) { c.Forward.Authority = nil })
	if _, err := g.tunnelTo(authority, "127.0.0.1", false); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("%v", err)
	}
}

func TestForwardEgress(t *testing.T) {
	plain := upstream(t, echo)
	g := start(t, allowAll, plain.URL, func(c *httpproxy.Config) { c.Forward.Egress.Networks = []netip.Prefix{} })
	proxy, err := url.Parse(g.proxy)
	must(t, err)
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy)}}
	defer client.CloseIdleConnections()
	port := portOf(t, plain.URL)
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "169.254.169.254", "[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]", "10.0.0.1", "0.0.0.0", "[fd00:ec2::254]", "100.100.100.200"} {
		req, err := http.NewRequest("GET", fmt.Sprintf("http://%s:%d/", host, port), nil)
		must(t, err)
		req.Header.Set("Proxy-Authorization", "Bearer "+g.token("alice"))
		if got := send(t, client, req); got.status != 403 || got.problem(t)["reason"] != httpproxy.ReasonEgress {
			t.Errorf("%s: %d %s", host, got.status, got.body)
		}
	}
	req, err := http.NewRequest("GET", "http://example.com:25/", nil)
	must(t, err)
	req.Header.Set("Proxy-Authorization", "Bearer "+g.token("alice"))
	if got := send(t, client, req); got.status != 403 || !strings.Contains(got.body, "port 25") {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// curl is a client that nobody here has written.
func TestForwardCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Fatal("the tests of the forward proxy need curl")
	}
	secure, trust := secureUpstream(t, echo)
	g := start(t, allowAll, secure.URL, func(c *httpproxy.Config) { c.Forward.TLS = trust })
	ca := filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(ca, g.ca, 0o600))
	body := filepath.Join(t.TempDir(), "body")
	must(t, os.WriteFile(body, []byte(strings.Repeat("x", 1<<20-10)), 0o600))
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), curl, append([]string{"-sS", "--max-time", "20", "--cacert", ca, "--proxy", g.proxy, "--proxy-user", "x:" + g.token("alice")}, args...)...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("curl %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	if got := run(secure.URL + "/a%20b"); !strings.HasPrefix(got, "GET /a%20b\n") {
		t.Errorf("%s", got)
	}
	if got := run("--http1.1", "-X", "POST", "-H", "Content-Type: text/plain", "-H", "Expect: 100-continue", "--data-binary", "@"+body, secure.URL+"/upload"); len(got) < 1<<20-10 {
		t.Errorf("%d bytes", len(got))
	}
	if got := run("-o", os.DevNull, "-w", "%{http_version} %{http_code}", "--path-as-is", secure.URL+"/a/../b"); got != "2 400" {
		t.Errorf("%s", got)
	}
}

// An agent that goes away takes its request with it.
func TestDisconnectCancels(t *testing.T) {
	gone := make(chan struct{})
	started := make(chan struct{})
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: one\n\n")
		w.(http.Flusher).Flush()
		close(started)
		<-r.Context().Done()
		close(gone)
	})
	g := start(t, allowAll, up.URL)
	req, err := http.NewRequest("GET", g.url+"/", nil)
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+g.token("alice"))
	resp, err := g.client.Do(req)
	must(t, err)
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	if line != "data: one\n" || err != nil {
		t.Errorf("%q %v", line, err)
	}
	<-started
	_ = resp.Body.Close()
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Error("the upstream's request still runs")
	}
}
