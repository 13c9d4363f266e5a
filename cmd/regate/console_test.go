package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/jackc/pgx/v5"

	"github.com/regate-dev/regate/engine/identity/devissuer"
	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

// consolePolicy holds updates, masks and denies drops.
const consolePolicy = `# METADATA
# scope: package
# custom:
#   regate: {protocols: [postgres], mode: enforce}
package regate.policies.acme.sql

allow contains {"id": "acme.sql/all"} if true

deny contains {"id": "acme.sql/drop", "msg": "DROP destroys data"} if "drop" in input.action.verbs

require_approval contains {"id": "acme.sql/updates", "msg": "UPDATE needs a second person", "from": ["group:dba"], "wait": "2m"} if {
	input.action.verb == "update"
}

mask contains {"id": "acme.sql/hidden", "field": "public.marks.hidden", "method": "redact"} if true
`

// consoleSite is a gateway with a console, an issuer that people sign in at and
// a database.
type consoleSite struct {
	*serving
	issuer string
	url    string
}

func newConsoleSite(t *testing.T) *consoleSite {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	issuer := "http://" + listener.Addr().String()
	handler, err := devissuer.New(devissuer.Config{
		Issuer: issuer, TokenLifetime: time.Hour,
		Clients: []devissuer.Client{
			{ID: "agent", Secret: "s", Groups: []string{"analysts"}},
			{ID: "bot", Secret: "s", Subject: "carol", Groups: []string{"dba"}},
		},
		Users: []devissuer.User{
			{ID: "carol", Name: "Carol <b>DBA</b>", Groups: []string{"dba"}},
			{ID: "oscar", Name: "Oscar", Groups: []string{"operators"}},
			{ID: "nobody", Name: "Nobody"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	web := &httptest.Server{Listener: listener, Config: &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}}
	web.Start()
	t.Cleanup(web.Close)
	dir := t.TempDir()
	s := &site{dir: dir, config: filepath.Join(dir, "regate.yaml"), state: filepath.Join(dir, "state"), db: pgtest.Shared(t)}
	if err := s.db.Run(t.Context(), "CREATE TABLE marks (mark text, hidden text); INSERT INTO marks VALUES ('one', 'secret-1')"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "policies"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		filepath.Join(dir, "policies", "p.rego"): consolePolicy,
		s.config: fmt.Sprintf(`
log: {format: json}
state: {dir: state}
record: {gateway: gw-test}
admin:
  address: "127.0.0.1:0"
  roles: {viewer: {groups: [dba]}, approver: {groups: [dba]}, auditor: {groups: [operators]}, operator: {groups: [operators]}}
  console: {client_id: regate-console}
identity: {issuers: [{name: test, url: %q, audiences: [regate], insecure_http: true}]}
policy: {bundles: [{name: main, paths: [policies]}], timeout: 10s}
postgres: {listeners: [{address: "127.0.0.1:0"}]}
targets: [{name: shop, labels: {env: prod}, address: "%s:%d", database: %s, user: %s, password: env:PW, tls: {mode: disable}, match: {databases: [shop]}}]
`, issuer, s.db.Host, s.db.Port, s.db.Name, pgtest.Superuser),
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := s.serve(t)
	return &consoleSite{serving: p, issuer: issuer, url: "http://" + p.admin}
}

// connect connects an agent, by one of the issuer's clients.
func (s *consoleSite) connect(t *testing.T, client string) (*pgx.Conn, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.issuer+"/oauth/token", strings.NewReader("grant_type=client_credentials"))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(client, "s")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || got.AccessToken == "" {
		t.Fatalf("no token: %v, %s", err, resp.Status)
	}
	c, err := pgx.ParseConfig(fmt.Sprintf("postgres://agent@%s/shop?sslmode=disable&application_name=%s", s.agent, url.QueryEscape("psql <img src=x onerror=window.pwned=1>")))
	if err != nil {
		t.Fatal(err)
	}
	c.Password = got.AccessToken
	conn, err := pgx.ConnectConfig(t.Context(), c)
	if err == nil {
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
	}
	return conn, err
}

// tab is a page of a person in a browser. What the browser complains of, such as
// something that the page's policy forbids, fails the test.
type tab struct {
	t   *testing.T
	ctx context.Context
	url string

	mu       sync.Mutex
	messages []string
	expected string // part of a message that is meant to come
}

// newBrowser starts Chromium; the contexts of tabs come from what it returns.
func newBrowser(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("no chromium: %v; .ci/setup chromium installs it", err)
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), chromedp.ExecPath(path), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.UserDataDir(t.TempDir()), chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	return ctx
}

// signIn opens a tab without the cookies of others and signs somebody in.
func (s *consoleSite) signIn(t *testing.T, browser context.Context, who, page string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx, url: s.url}
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			b.mu.Lock()
			if b.expected == "" || !strings.Contains(m.Text, b.expected) {
				b.messages = append(b.messages, m.String()+" "+m.URL)
			}
			b.mu.Unlock()
		}
	}()
	b.do(chromedp.EmulateViewport(1280, 900), chromedp.Navigate(s.url+page))
	b.see("a.primary", "Sign in with")
	if got := b.eval("location.pathname"); got != "/signin" {
		t.Fatalf("without a session one is at %s", got)
	}
	button := chromedp.CSS("form input[value=" + who + "] ~ button")
	b.do(chromedp.Click(chromedp.CSS("a.primary")), chromedp.WaitVisible(button), chromedp.Click(button))
	b.see("nav.side", "Approvals")
	return b
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, awaitFor)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%v\non %v", err, b.where())
	}
}

func (b *tab) where() string {
	at, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string]("location.href+'\\n'+document.body.innerText.slice(0, 1500)"))
	return at
}

func (b *tab) goTo(path string) { b.t.Helper(); b.do(chromedp.Navigate(b.url + path)) }

// eval evaluates to a text.
func (b *tab) eval(js string) string {
	b.t.Helper()
	got, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("String("+js+")"))
	if err != nil {
		b.t.Fatalf("%s: %v", js, err)
	}
	return got
}

// see waits until something that a selector finds says so, without a reload.
func (b *tab) see(selector, text string) {
	b.t.Helper()
	sel, _ := json.Marshal(selector)
	want, _ := json.Marshal(text)
	js := fmt.Sprintf("[...document.querySelectorAll(%s)].some(e => e.innerText.includes(%s))", sel, want)
	for end := time.Now().Add(awaitFor); ; time.Sleep(20 * time.Millisecond) {
		got, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](js)) // it fails while a page changes
		if err == nil && got {
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("%s with %q does not show: %v\non %s", selector, text, err, b.where())
		}
	}
}

// quiet fails when the browser has complained.
func (b *tab) quiet() {
	b.t.Helper()
	if got := b.eval("window.pwned"); got != "undefined" {
		b.t.Errorf("a script of somebody else ran: %s", b.where())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.messages {
		b.t.Errorf("the browser says: %s", m)
	}
	b.messages = nil
}

func (b *tab) scheme(dark bool) {
	b.t.Helper()
	value := "light"
	if dark {
		value = "dark"
	}
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: value}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}}); err != nil {
		b.t.Fatal(err)
	}
}

// axe checks the page by axe-core's rules for WCAG A and AA, in both colours.
func (b *tab) axe(script string) {
	b.t.Helper()
	for _, dark := range []bool{false, true} {
		b.scheme(dark)
		got, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](script+`;
			axe.run({runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], resultTypes: ["violations"]}).then(r => r.violations.map(v =>
				v.id + ": " + v.help + "\n" + v.nodes.slice(0, 5).map(n => "  " + n.html.slice(0, 200) + "\n    " + (n.any[0]||n.all[0]||n.none[0]||{}).message).join("\n")).join("\n"))`,
			chromedp.EvalAwaitPromise))
		if err != nil {
			b.t.Fatal(err)
		}
		if got != "" {
			b.t.Errorf("%s, dark %v:\n%s", b.eval("location.pathname"), dark, got)
		}
	}
}

// shoot keeps a picture where REGATE_SHOTS names a folder.
func (b *tab) shoot(name string) {
	b.t.Helper()
	dir := os.Getenv("REGATE_SHOTS")
	if dir == "" {
		return
	}
	for _, dark := range []bool{false, true} {
		b.scheme(dark)
		for _, width := range []int64{1280, 390} {
			b.do(chromedp.EmulateViewport(width, 900))
			png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
			if err != nil {
				b.t.Fatal(err)
			}
			kind := map[bool]string{false: "light", true: "dark"}[dark]
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%s-%d.png", name, kind, width)), png, 0o600); err != nil {
				b.t.Fatal(err)
			}
		}
	}
	b.do(chromedp.EmulateViewport(1280, 900))
}

// phone fails where a page is wider than a phone.
func (b *tab) phone() {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(390, 844))
	if got := b.eval("document.documentElement.scrollWidth"); got != "390" {
		b.t.Errorf("%s is %s wide on a phone of 390", b.eval("location.pathname"), got)
	}
	b.do(chromedp.EmulateViewport(1280, 900))
}

// send makes a request with the tab's cookies, and what a browser would say of
// where it comes from.
func (b *tab) send(method, path, from string) int {
	b.t.Helper()
	got, err := chromedp.Call(b.ctx, network.GetCookies, network.GetCookiesParams{})
	if err != nil {
		b.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(b.ctx, method, b.url+path, strings.NewReader("reason=x"))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range got.Cookies {
		if !c.HTTPOnly || c.SameSite != network.CookieSameSiteLax {
			b.t.Errorf("the cookie %s is not HttpOnly and SameSite: %+v", c.Name, c)
		}
		req.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if from != "" {
		req.Header.Set("Sec-Fetch-Site", from)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp.StatusCode
}

// hostile is a statement that attacks whoever looks at it.
const hostile = "SELECT '<script>window.pwned=1</script><img src=x onerror=window.pwned=1>' AS \"</td><script>window.pwned=1</script>\", E'\\x1b[2J' || chr(27) || ']0;x' || chr(7), U&'\\202Egnp.exe', 'a\u202eb\u200b'"

// TestConsole is the console in a real browser: an approver lets a held statement
// run while the agent waits; an operator sees it live, plays it back, learns why
// and cuts the agent off. What agents and databases say is text.
func TestConsole(t *testing.T) {
	axe, err := os.ReadFile("../../testdata/axe/node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatalf("%v; .ci/setup npm installs it", err)
	}
	s := newConsoleSite(t)
	browser := newBrowser(t)
	carol := s.signIn(t, browser, "carol", "/approvals")
	carol.see("main", "Nothing waits for you")
	oscar := s.signIn(t, browser, "oscar", "/activity")
	oscar.see("main", "Nobody is connected")

	// An agent shows up, and what it does, without a reload.
	agent, err := s.connect(t, "agent")
	if err != nil {
		t.Fatal(err)
	}
	oscar.see("#activity tbody", "agent")
	if _, err := agent.Exec(t.Context(), hostile, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	oscar.see(".feed", "<script>window.pwned=1</script>")
	if _, err := agent.Exec(t.Context(), "SELECT mark, hidden, repeat('<b>x', 2621440) AS huge FROM marks", pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	if _, err := agent.Exec(t.Context(), "DROP TABLE marks", pgx.QueryExecModeSimpleProtocol); err == nil {
		t.Fatal("a DROP is not refused")
	}
	oscar.see(".feed-why", "acme.sql/drop")

	// It waits for Carol, who sees it at once.
	updated := make(chan error, 1)
	go func() {
		_, err := agent.Exec(t.Context(), "UPDATE marks SET mark = '<script>window.pwned=1</script>' WHERE mark = 'one'", pgx.QueryExecModeSimpleProtocol)
		updated <- err
	}()
	carol.see(".ticket", "UPDATE marks")
	carol.see(".ticket", "yours to decide")
	carol.see("#pending", "1")
	oscar.see(".tile.warn", "waiting for approval")
	oscar.shoot("activity")
	carol.shoot("approvals")
	carol.do(chromedp.Click(chromedp.CSS("a.ticket")))
	carol.see("#approval h1", "agent wants to update on shop")
	carol.see("#approval pre .k", "UPDATE")
	carol.see("#approval", "UPDATE needs a second person")
	carol.see("#approval", "public.marks.hidden")
	carol.see("#approval", "0 of 1")
	carol.shoot("approval")
	carol.axe(string(axe))
	carol.phone()
	carol.quiet()

	// A link, another site and somebody without the role approve nothing.
	ticket := carol.eval("location.pathname")
	for _, c := range []struct {
		by                 *tab
		method, path, from string
		want               int
	}{
		{carol, "GET", ticket + "/approve", "none", http.StatusMethodNotAllowed},
		{carol, "GET", ticket + "?approve=1", "cross-site", http.StatusOK},
		{carol, "POST", ticket + "/approve", "cross-site", http.StatusForbidden},
		{carol, "POST", ticket + "/approve", "same-site", http.StatusForbidden},
		{oscar, "POST", ticket + "/approve", "same-origin", http.StatusForbidden},
		{carol, "POST", "/revocations", "same-origin", http.StatusForbidden},
	} {
		if got := c.by.send(c.method, c.path, c.from); got != c.want && (c.want != http.StatusMethodNotAllowed || got != http.StatusNotFound) {
			t.Errorf("%s %s from %s: %d, want %d", c.method, c.path, c.from, got, c.want)
		}
	}
	select {
	case err := <-updated:
		t.Fatalf("the agent did not wait: %v", err)
	default:
	}
	oscar.goTo(ticket)
	oscar.see(".decide", "This needs the role approver")
	carol.do(chromedp.SendKeys(chromedp.CSS("input[name=note]"), "go ahead"), chromedp.Click(chromedp.CSS("button.approve")))
	if err := <-updated; err != nil {
		t.Fatalf("approved, and yet: %v", err)
	}
	carol.see("#approval", "used")
	oscar.see("#approval", "go ahead") // it changed before his eyes
	carol.quiet()

	// Nobody approves their own request, whichever way it came.
	bot, err := s.connect(t, "bot")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, err := bot.Exec(ctx, "UPDATE marks SET mark = 'mine'", pgx.QueryExecModeSimpleProtocol)
		updated <- err
	}()
	carol.goTo("/approvals")
	carol.see(".ticket", "mark = 'mine'")
	carol.do(chromedp.Click(chromedp.CSS("a.ticket")))
	carol.see(".decide", "cannot decide on its own request")
	if got := carol.send("POST", carol.eval("location.pathname")+"/approve", "same-origin"); got != http.StatusForbidden {
		t.Errorf("an own request is approved: %d", got)
	}
	cancel()
	<-updated

	// Oscar plays the session back. The last decision may still be on its way.
	oscar.goTo("/decisions?effect=deny")
	oscar.see(".feed", "DROP TABLE marks")
	oscar.axe(string(axe))
	oscar.phone()
	oscar.goTo("/sessions?table=public.marks")
	oscar.see("tbody", "agent")
	oscar.shoot("sessions")
	oscar.axe(string(axe))
	oscar.phone()
	oscar.do(chromedp.Click(chromedp.CSS("tbody tr:last-child a")))
	oscar.see(".turn .data", "[REDACTED]")
	oscar.see(".turn .data .chip", "10.0 MiB")
	oscar.see(".turn .esc", `\u202e`)
	oscar.see(".turn", "consumed by carol")
	if strings.Contains(oscar.eval("document.body.textContent"), "secret-1") {
		t.Error("the replay shows what was masked")
	}
	oscar.do(chromedp.Click(chromedp.CSS("#denial")))
	oscar.see(".turn.current", "DROP destroys data")
	if shown := oscar.eval("document.querySelectorAll('.turn:not(.future)').length + '/' + document.querySelectorAll('.turn').length"); shown == oscar.eval("document.querySelectorAll('.turn').length + '/' + document.querySelectorAll('.turn').length") {
		t.Errorf("at the denial all turns show: %s", shown)
	}
	oscar.do(chromedp.SetValue(chromedp.CSS("#speed"), "60"), chromedp.Click(chromedp.CSS("#play")))
	oscar.see(".turn:not(.future) pre", "UPDATE")
	oscar.shoot("session")
	oscar.axe(string(axe))
	oscar.phone()
	oscar.quiet()
	oscar.do(chromedp.Click(chromedp.CSS(".turn[data-effect=deny] a.why")))
	oscar.see("#explain", "acme.sql/drop")
	oscar.see("#explain", "input.action.verbs")
	oscar.shoot("decision")
	oscar.axe(string(axe))
	oscar.phone()
	for _, page := range []string{"/activity", "/approvals?state=all", "/policies", "/health", "/nothing-here"} {
		if page == "/nothing-here" {
			oscar.mu.Lock()
			oscar.expected = "404"
			oscar.mu.Unlock()
		}
		oscar.goTo(page)
		oscar.see("h1", "")
		oscar.shoot(strings.Trim(strings.NewReplacer("/", "", "?", "-", "=", "-").Replace(page), "-"))
		oscar.axe(string(axe))
		oscar.phone()
	}
	oscar.quiet()

	// He cuts the agent off.
	oscar.goTo("/targets")
	oscar.shoot("targets")
	oscar.axe(string(axe))
	oscar.phone()
	oscar.do(chromedp.Click(chromedp.CSS(`tr[data-id=agent] summary`)), chromedp.SendKeys(chromedp.CSS(`tr[data-id=agent] input[name=reason]`), "out of hand"),
		chromedp.Click(chromedp.CSS(`tr[data-id=agent] button.danger`)))
	oscar.see("#targets", "out of hand")
	cut := time.Now()
	for end := cut.Add(awaitFor); ; time.Sleep(10 * time.Millisecond) {
		if err := agent.Ping(t.Context()); err != nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the agent's connection lives on")
		}
	}
	if _, err := pgx.ConnectConfig(t.Context(), agent.Config()); err == nil {
		t.Error("a revoked agent connects again with its token")
	}
	oscar.quiet()

	// Signing out ends the session, for a copy of its cookie too.
	left := oscar.cookies()
	oscar.do(chromedp.Click(chromedp.CSS("header details summary")), chromedp.Click(chromedp.CSS("form[action='/signout'] button")))
	oscar.see("main", "You are signed out")
	oscar.axe(string(axe))
	oscar.phone()
	oscar.shoot("signin")
	if got := s.with(t, left, "/health"); got != http.StatusUnauthorized {
		t.Errorf("a copy of the cookie still works: %d", got)
	}
	oscar.quiet()
	none := s.signIn(t, browser, "nobody", "/sessions")
	none.see("main", "This page needs the role")
}

func (b *tab) cookies() []*network.Cookie {
	b.t.Helper()
	got, err := chromedp.Call(b.ctx, network.GetCookies, network.GetCookiesParams{})
	if err != nil {
		b.t.Fatal(err)
	}
	return got.Cookies
}

// with asks for a page with somebody's cookies.
func (s *consoleSite) with(t *testing.T, cookies []*network.Cookie, path string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cookies {
		req.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(errors.Join(err))
	}
	resp.Body.Close()
	return resp.StatusCode
}
