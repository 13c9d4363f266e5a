package httpproxy_test

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regate-dev/regate/engine/approval"
	"github.com/regate-dev/regate/engine/input"
	httpproxy "github.com/regate-dev/regate/proxies/http"
	"github.com/regate-dev/regate/proxies/http/request"
)

// echo answers with the request that came.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "text/plain")
	fmt.Fprintf(w, "%s %s\nHost: %s\n", r.Method, r.RequestURI, r.Host)
	_ = r.Header.Write(w)
	fmt.Fprintf(w, "\n%s", body)
}

func TestReverse(t *testing.T) {
	up := upstream(t, echo)
	g := start(t, preamble+`allow contains {"id": "test/read"} if {
	input.action.verb == "get"
	input.resource.segments[0] == "v1"
	input.resource.segments[1] == "orders"
}
allow contains {"id": "test/write"} if {
	input.action.verb == "post"
	input.http.body.json.sum < 10
}
deny contains {"id": "test/secrets", "msg": "no secrets leave"} if count(input.action.secrets) > 0
`, up.URL+"/v1")
	token := g.token("alice")

	got := g.do(token, "GET", "/orders/17?a=1&b=%2f", "", "X-Forwarded-For", "10.0.0.1", "Connection", "keep-alive", "X-Kept", "yes")
	if got.status != 200 || !strings.HasPrefix(got.body, "GET /v1/orders/17?a=1&b=%2f\nHost: "+strings.TrimPrefix(up.URL, "http://")) {
		t.Fatalf("%d %s", got.status, got.body)
	}
	for _, unwanted := range []string{"Authorization", token, "X-Forwarded-For", "User-Agent: Go-http-client/1.1\r\nUser"} {
		if strings.Contains(got.body, unwanted) {
			t.Errorf("%s went to the upstream:\n%s", unwanted, got.body)
		}
	}
	if !strings.Contains(got.body, "X-Kept: yes") {
		t.Errorf("a header was lost:\n%s", got.body)
	}
	if got := g.do(token, "POST", "/pay", `{"sum": 5}`, "Content-Type", "application/json"); got.status != 200 || !strings.HasSuffix(got.body, "\n"+`{"sum": 5}`) {
		t.Errorf("%d %s", got.status, got.body)
	}
	// The token is the password of Basic, for clients that know nothing else. It
	// goes no further in that form either.
	req, err := http.NewRequest("GET", g.url+"/orders", nil)
	must(t, err)
	req.SetBasicAuth("agent", token)
	if got := send(t, g.client, req); got.status != 200 || strings.Contains(got.body, "Authorization") {
		t.Errorf("%d %s", got.status, got.body)
	}
	for name, c := range map[string]struct {
		answer answer
		status int
		reason string
	}{
		"no rule":           {g.do(token, "GET", "/users", ""), 403, "engine/no-allow"},
		"body":              {g.do(token, "POST", "/pay", `{"sum": 50}`, "Content-Type", "application/json"), 403, "engine/no-allow"},
		"duplicate":         {g.do(token, "POST", "/pay", `{"sum": 5, "sum": 50}`, "Content-Type", "application/json"), 400, request.ReasonJSON},
		"secret":            {g.do(token, "GET", "/orders?q=jane@example.com", ""), 403, "test/secrets"},
		"no token":          {g.do("", "GET", "/orders", ""), 401, "identity/missing"},
		"bad token":         {g.do("x.y.z", "GET", "/orders", ""), 401, "identity/malformed"},
		"dots":              {g.do(token, "GET", "/orders/..%2fusers", ""), 400, request.ReasonEncodedSlash},
		"method override":   {g.do(token, "GET", "/orders", "", "X-HTTP-Method-Override", "DELETE"), 400, request.ReasonOverride},
		"too large":         {g.do(token, "POST", "/pay", strings.Repeat(" ", 2<<20), "Content-Type", "application/json"), 413, request.ReasonBodyTooLarge},
		"websocket":         {g.do(token, "GET", "/orders", "", "Connection", "Upgrade", "Upgrade", "websocket"), 400, request.ReasonUpgrade},
		"connection strips": {g.do(token, "GET", "/orders", "", "Connection", "X-Kept"), 400, request.ReasonConnection},
	} {
		p := c.answer.problem(t)
		if c.answer.status != c.status || p["reason"] != c.reason {
			t.Errorf("%s: %d %s", name, c.answer.status, c.answer.body)
		}
	}
}

// A body that no policy reads passes as it is, however large.
func TestReverseUpload(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%d %v %s", n, err, r.Header.Get("Content-Encoding"))
	})
	g := start(t, preamble+`allow contains {"id": "test/write"} if input.action.writes
require_approval contains {"id": "test/ask", "from": ["subject:bob"], "wait": "0s"} if input.action.verb == "put"
`, up.URL)
	for _, size := range []int{0, 10, 1 << 20, 1<<20 + 1, 5 << 20} {
		if got := g.do(g.token("alice"), "POST", "/upload", strings.Repeat("x", size), "Content-Encoding", "odd"); got.body != fmt.Sprintf("%d <nil> odd", size) {
			t.Errorf("%d bytes: %d %s", size, got.status, got.body)
		}
	}
	// What nobody could look at cannot be approved.
	if got := g.do(g.token("alice"), "PUT", "/upload", strings.Repeat("x", 5<<20)); got.problem(t)["reason"] != httpproxy.ReasonBodyUnread {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestReverseRoutes(t *testing.T) {
	up := upstream(t, echo)
	g := start(t, allowAll, up.URL, func(c *httpproxy.Config) {
		c.Targets = []httpproxy.Target{
			{Name: "a", Upstream: up.URL + "/a", Prefix: "/u/a"},
			{Name: "ab", Upstream: up.URL + "/ab", Prefix: "/u/ab"},
			{Name: "host", Upstream: up.URL + "/host", Hosts: []string{"api.example.com"}},
		}
	})
	token := g.token("alice")
	for path, want := range map[string]string{"/u/a/x": "/a/x", "/u/ab": "/ab/", "/u/ab/": "/ab/"} {
		if got := g.do(token, "GET", path, ""); got.status != 200 || !strings.HasPrefix(got.body, "GET "+want+"\n") {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	req, err := http.NewRequest("GET", g.url+"/x", nil)
	must(t, err)
	req.Host = "API.example.com:80"
	req.Header.Set("Authorization", "Bearer "+token)
	if got := send(t, g.client, req); got.status != 200 || !strings.HasPrefix(got.body, "GET /host/x\n") {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := g.do(token, "GET", "/elsewhere", ""); got.status != 404 {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestReverseMasks(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"1"`)
		w.Header().Set("X-Owner", "jane@example.com")
		switch r.URL.Path {
		case "/json":
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			_, _ = w.Write([]byte(`{"items": [{"name": "Jane", "mail": "jane@example.com"}]}`))
		case "/gzip":
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = z.Write([]byte(`{"items": [{"name": "Jane"}]}`))
			_ = z.Close()
		case "/broken":
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"items": [` + strings.Repeat(`{"name": "Jane"},`, 20000) + `}`))
		case "/text":
			w.Header().Set("Content-Type", "text/plain")
			_, _ = w.Write([]byte("Jane"))
		case "/binary":
			w.Header().Set("Content-Type", "image/png")
			_, _ = w.Write([]byte("Jane"))
		case "/error":
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(500)
			_, _ = w.Write([]byte(`{"name": "Jane", "items": {"name": "Jane"}}`))
		case "/empty":
			w.WriteHeader(204)
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			for i := range 3 {
				fmt.Fprintf(w, "data: {\"items\": {\"name\": \"Jane %d\"}}\n\n", i)
				w.(http.Flusher).Flush()
			}
		}
	})
	g := start(t, allowAll+`mask contains {"id": "test/name", "field": "/items/name", "method": "redact"} if input.stage == "request"
mask contains {"id": "test/mail", "detect": "email", "method": "redact"} if input.stage == "request"
`, up.URL)
	token := g.token("alice")
	for path, want := range map[string]string{
		"/json":   `{"items": [{"name": "[REDACTED]", "mail": "[REDACTED:email]"}]}`,
		"/gzip":   `{"items": [{"name": "[REDACTED]"}]}`,
		"/error":  `{"name": "Jane", "items": {"name": "[REDACTED]"}}`,
		"/events": "data: {\"items\": {\"name\": \"[REDACTED]\"}}\n\ndata: {\"items\": {\"name\": \"[REDACTED]\"}}\n\ndata: {\"items\": {\"name\": \"[REDACTED]\"}}\n\n",
		"/empty":  "",
	} {
		got := g.do(token, "GET", path, "", "Accept-Encoding", "gzip")
		if got.body != want || got.err != nil {
			t.Errorf("%s: %d %s (%v)", path, got.status, got.body, got.err)
		}
		if got.header.Get("X-Owner") != "[REDACTED:email]" || path != "/empty" && (got.header.Get("Etag") != "" || got.header.Get("Content-Encoding") != "") {
			t.Errorf("%s: %v", path, got.header)
		}
	}
	for _, path := range []string{"/text", "/binary"} {
		if got := g.do(token, "GET", path, ""); got.problem(t)["reason"] != httpproxy.ReasonUnmaskable || strings.Contains(got.body, "Jane") {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	if got := g.do(token, "GET", "/json", "", "Range", "bytes=20-40"); got.problem(t)["reason"] != httpproxy.ReasonRange {
		t.Errorf("%d %s", got.status, got.body)
	}
	// What cannot be masked to its end is cut.
	if got := g.do(token, "GET", "/broken", ""); got.err == nil || strings.Contains(got.body, "Jane") {
		t.Errorf("%d %.100s %v", got.status, got.body, got.err)
	}
}

func TestReverseCredential(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("X-Echo", r.Header.Get("X-Api-Key"))
		if r.URL.Path == "/v1/redirect" {
			http.Redirect(w, r, "/v1/elsewhere?key="+r.Header.Get("X-Api-Key"), http.StatusFound)
			return
		}
		// Split where a reader's buffer may end.
		key := r.Header.Get("X-Api-Key")
		_, _ = io.WriteString(w, "key="+key[:4])
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, key[4:]+";"+r.URL.RawQuery)
	})
	const secret = "sk-live-0123456789abcdef"
	g := start(t, allowAll, up.URL, func(c *httpproxy.Config) {
		c.Targets[0].Upstream += "/v1"
		c.Targets[0].Credential = &httpproxy.Credential{Header: "X-Api-Key", Path: "/v1/orders", Secret: func() (string, error) { return secret, nil }}
		c.Targets = append(c.Targets, httpproxy.Target{Name: "all", Prefix: "/all", Upstream: up.URL + "/v1", Credential: &httpproxy.Credential{Header: "X-Api-Key", Secret: func() (string, error) { return secret, nil }}})
		c.Targets[0].Prefix = "/one"
	})
	token := g.token("alice")
	got := g.do(token, "GET", "/one/orders", "", "X-Api-Key", "mine")
	if got.status != 200 || got.body != "key="+strings.Repeat("*", len(secret))+";" || got.header.Get("X-Echo") != strings.Repeat("*", len(secret)) {
		t.Errorf("%d %v %s", got.status, got.header, got.body)
	}
	if got := g.do(token, "GET", "/one/ordersx", ""); got.problem(t)["reason"] != httpproxy.ReasonScope {
		t.Errorf("%d %s", got.status, got.body)
	}
	got = g.do(token, "GET", "/all/redirect", "")
	if got.status != 302 || strings.Contains(got.header.Get("Location"), secret) || !strings.HasPrefix(got.header.Get("Location"), "/all/elsewhere?key=***") {
		t.Errorf("%d %v", got.status, got.header)
	}
	if strings.Contains(g.log.String(), secret) {
		t.Error("the secret is in the log")
	}
}

func TestReverseLimits(t *testing.T) {
	var cancelled atomic.Bool
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-r.Context().Done()
			cancelled.Store(true)
			return
		}
		_, _ = w.Write(make([]byte, 300<<10))
	})
	g := start(t, allowAll+`limit contains {"id": "test/limit", "bytes": 100000, "seconds": 1} if input.stage == "request"
`, up.URL)
	if got := g.do(g.token("alice"), "GET", "/large", ""); got.err == nil || len(got.body) > 100000 {
		t.Errorf("%d, %d bytes, %v", got.status, len(got.body), got.err)
	}
	if got := g.do(g.token("alice"), "GET", "/slow", ""); got.problem(t)["reason"] != httpproxy.ReasonTimeLimit {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestReverseApproval(t *testing.T) {
	var calls atomic.Int32
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		echo(w, r)
	})
	g := start(t, allowAll+`require_approval contains {"id": "test/pay", "from": ["subject:bob"], "wait": "0s"} if input.action.verb == "post"
`, up.URL)
	token := g.token("alice")
	pay := func(body string) answer { return g.do(token, "POST", "/pay", body, "Content-Type", "application/json") }
	got := pay(`{"sum": 5}`)
	p := got.problem(t)
	id, _ := p["approval_id"].(string)
	if got.status != 403 || p["reason"] != "approval/pending" || id == "" || got.header.Get("Retry-After") == "" {
		t.Fatalf("%d %v %s", got.status, got.header, got.body)
	}
	_, err := g.desk.Approve(t.Context(), id, approval.Identity{Subject: input.Principal{ID: "bob", Issuer: g.issuer.URL}}, "")
	must(t, err)
	// Another body is another request.
	if got := pay(`{"sum": 500}`); got.status != 403 || calls.Load() != 0 {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := pay(`{"sum": 5}`); got.status != 200 || calls.Load() != 1 {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := pay(`{"sum": 5}`); got.status != 403 || calls.Load() != 1 {
		t.Errorf("it passed twice: %d %s", got.status, got.body)
	}
}

// What net/http forgives is refused, and nothing of it gets to the upstream.
func TestReverseSmuggling(t *testing.T) {
	var calls atomic.Int32
	up := upstream(t, func(w http.ResponseWriter, _ *http.Request) { calls.Add(1); w.WriteHeader(200) })
	g := start(t, allowAll, up.URL)
	token := g.token("alice")
	head := "Host: x\r\nAuthorization: Bearer " + token + "\r\n"
	for name, raw := range map[string]string{
		"CL and TE":       "POST / HTTP/1.1\r\n" + head + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"TE and CL":       "POST / HTTP/1.1\r\n" + head + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
		"CL twice":        "POST / HTTP/1.1\r\n" + head + "Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
		"bare LF":         "GET / HTTP/1.1\n" + strings.ReplaceAll(head, "\r\n", "\n") + "\n",
		"one bare LF":     "GET / HTTP/1.1\r\n" + head + "X-A: 1\nX-B: 2\r\n\r\n",
		"folded":          "GET / HTTP/1.1\r\n" + head + "X-A: 1\r\n folded\r\n\r\n",
		"1.0 and chunked": "POST / HTTP/1.0\r\n" + head + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"two hosts":       "GET / HTTP/1.1\r\nHost: y\r\n" + head + "\r\n",
		"absolute form":   "GET http://x/ HTTP/1.1\r\n" + head + "\r\n",
		"chunk size":      "POST / HTTP/1.1\r\n" + head + "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
		"chunk bare LF":   "POST / HTTP/1.1\r\n" + head + "Transfer-Encoding: chunked\r\n\r\n5;a\nhello\r\n0\r\n\r\n",
		"h2c":             "GET / HTTP/1.1\r\n" + head + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n\r\n",
		"no host":         "GET / HTTP/1.0\r\nAuthorization: Bearer " + token + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			before := calls.Load()
			conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
			must(t, err)
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			_, err = conn.Write([]byte(raw))
			must(t, err)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			must(t, err)
			_ = resp.Body.Close()
			if resp.StatusCode != 400 || calls.Load() != before {
				t.Errorf("%d, %d calls", resp.StatusCode, calls.Load()-before)
			}
		})
	}
	// A CONNECT that leads nowhere does not end the guard.
	for _, address := range []string{g.url, g.proxy} {
		before := calls.Load()
		conn, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
		must(t, err)
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		r := bufio.NewReader(conn)
		for i, raw := range []string{
			"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n",
			"POST http://" + strings.TrimPrefix(up.URL, "http://") + "/ HTTP/1.1\r\nHost: " + strings.TrimPrefix(up.URL, "http://") + "\r\nProxy-Authorization: Bearer " + token + "\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		} {
			if _, err := conn.Write([]byte(raw)); err != nil {
				break // it was closed, which is as good
			}
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				break
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode < 400 {
				t.Errorf("%s, message %d: %s", address, i, resp.Status)
			}
		}
		if calls.Load() != before {
			t.Errorf("%s: a request got through", address)
		}
	}
	// And what is plain goes through, several on one connection.
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	must(t, err)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	before := calls.Load()
	_, err = conn.Write([]byte("POST / HTTP/1.1\r\n" + head + "Content-Length: 5\r\n\r\nhello" +
		"POST / HTTP/1.1\r\n" + head + "Transfer-Encoding: chunked\r\n\r\n5;ext\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\nGET / HTTP/1.1\r\n" + head + "\r\n"))
	must(t, err)
	r := bufio.NewReader(conn)
	for range 3 {
		resp, err := http.ReadResponse(r, nil)
		must(t, err)
		if resp.StatusCode != 200 {
			t.Errorf("%d", resp.StatusCode)
		}
		_ = resp.Body.Close()
	}
	if calls.Load()-before != 3 {
		t.Errorf("%d calls", calls.Load()-before)
	}
}
