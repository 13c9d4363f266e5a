package devissuer_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/engine/identity/devissuer"
	"github.com/regate-dev/regate/engine/identity/login"
)

// start runs an issuer for the test and a verifier that trusts it.
func start(t *testing.T, change func(*identity.Issuer)) (*devissuer.Issuer, string, *identity.Verifier) {
	t.Helper()
	l, err := devissuer.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + l.Addr().String()
	iss, err := devissuer.New(devissuer.Config{
		Issuer: base, Audiences: []string{"regate", "other"},
		Clients: []devissuer.Client{
			{ID: "agent", Secret: "a-secret", Groups: []string{"analysts", "eu"}, Scopes: []string{"db:read", "db:write"}, Claims: map[string]any{"tenant": "acme"}},
			{ID: "bot", Secret: "b-secret", Subject: "alice", Groups: []string{"staff"}, Actor: &devissuer.Actor{Subject: "bot-7", ClientID: "bot"}},
			{ID: "gateway", Secret: "g-secret"},
		},
		Users: []devissuer.User{{ID: "carol", Groups: []string{"dba"}, Email: "carol@example.com"}, {ID: "dave", Password: "pw"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: iss, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	cfg := identity.Issuer{Name: "dev", URL: base, Audiences: []string{"regate"}, InsecureHTTP: true}
	if change != nil {
		change(&cfg)
	}
	v, err := identity.New(t.Context(), identity.Config{Issuers: []identity.Issuer{cfg}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return iss, base, v
}

func machine(t *testing.T, base, id, secret string, scopes ...string) string {
	t.Helper()
	token, err := login.Token(t.Context(), login.Options{Issuer: base, ClientID: id, ClientSecret: secret, Scopes: scopes})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func post(t *testing.T, address, id, secret string, form url.Values) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(id, secret)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body map[string]any
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = json.Unmarshal(raw, &body)
	return resp.StatusCode, body
}

func reason(err error) string {
	var refusal *identity.Error
	if errors.As(err, &refusal) {
		return refusal.Reason
	}
	return ""
}

func TestClientCredentials(t *testing.T) {
	_, base, v := start(t, nil)
	id, err := v.Verify(t.Context(), machine(t, base, "agent", "a-secret"))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(id.Subject)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"id":"agent"`, `"client_id":"agent"`, `"groups":["analysts","eu"]`, `"scopes":["db:read","db:write"]`, `"tenant":"acme"`} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("%s is not in %s", want, raw)
		}
	}
	one, err := v.Verify(t.Context(), machine(t, base, "agent", "a-secret", "db:read"))
	if err != nil || len(one.Subject.Scopes) != 1 {
		t.Errorf("got %v and %v, want one scope", one, err)
	}

	id, err = v.Verify(t.Context(), machine(t, base, "bot", "b-secret"))
	if err != nil {
		t.Fatal(err)
	}
	if id.Subject.ID != "alice" || id.Actor == nil || id.Actor.ID != "bot-7" || id.Actor.ClientID != "bot" {
		t.Errorf("got %+v acting %+v", id.Subject, id.Actor)
	}

	for _, o := range []login.Options{
		{Issuer: base, ClientID: "agent", ClientSecret: "wrong"},
		{Issuer: base, ClientID: "nobody", ClientSecret: "a-secret"},
		{Issuer: base, ClientID: "agent", ClientSecret: "a-secret", Scopes: []string{"admin"}},
		{Issuer: base, ClientID: "agent", ClientSecret: "a-secret", Audiences: []string{"elsewhere"}},
		{Issuer: base, ClientID: devissuer.LoginClient, ClientSecret: "x"},
	} {
		if _, err := login.Token(t.Context(), o); err == nil {
			t.Errorf("%+v got a token", o)
		}
	}
	other, err := login.Token(t.Context(), login.Options{Issuer: base, ClientID: "agent", ClientSecret: "a-secret", Audiences: []string{"other"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), other); reason(err) != identity.ReasonWrongAudience {
		t.Errorf("a token for another audience: %v", err)
	}
}

func TestRotation(t *testing.T) {
	iss, base, v := start(t, func(i *identity.Issuer) { i.Keys.MaxAge = time.Second })
	old := machine(t, base, "agent", "a-secret")
	if _, err := v.Verify(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if err := iss.Rotate(false); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), machine(t, base, "agent", "a-secret")); err != nil {
		t.Errorf("a token of the new key: %v", err)
	}
	if _, err := v.Verify(t.Context(), old); err != nil {
		t.Errorf("a token of the old key, still published: %v", err)
	}
	if status, _ := post(t, base+"/dev/rotate?withdraw=true", "agent", "wrong", nil); status != http.StatusUnauthorized {
		t.Errorf("rotation with a wrong secret: %d", status)
	}
	if status, _ := post(t, base+"/dev/rotate?withdraw=true", "agent", "a-secret", nil); status != http.StatusOK {
		t.Errorf("rotation: %d", status)
	}
	// A token of the newest key makes the verifier look; then the withdrawn
	// key is gone.
	if _, err := v.Verify(t.Context(), machine(t, base, "agent", "a-secret")); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), old); reason(err) != identity.ReasonUnknownKey {
		t.Errorf("a token of a withdrawn key: %v", err)
	}
}

func TestIntrospectionAndRevocation(t *testing.T) {
	_, base, v := start(t, func(i *identity.Issuer) {
		i.Introspection = &identity.Introspection{ClientID: "gateway", ClientSecret: "g-secret", CacheFor: -1}
	})
	token := machine(t, base, "agent", "a-secret")
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	if status, _ := post(t, base+"/revoke", "gateway", "g-secret", url.Values{"token": {token}}); status == http.StatusOK {
		t.Error("another client revoked the token")
	}
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	if status, body := post(t, base+"/revoke", "agent", "a-secret", url.Values{"token": {token}}); status != http.StatusOK {
		t.Fatalf("revoke: %d %v", status, body)
	}
	if _, err := v.Verify(t.Context(), token); reason(err) != identity.ReasonInactive {
		t.Errorf("a revoked token: %v", err)
	}
	if status, _ := post(t, base+"/oauth/introspect", "gateway", "wrong", url.Values{"token": {token}}); status != http.StatusUnauthorized {
		t.Errorf("introspection with a wrong secret: %d", status)
	}
}

func TestTokenExchange(t *testing.T) {
	_, base, v := start(t, nil)
	form := url.Values{
		"grant_type":    {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token": {machine(t, base, "bot", "b-secret")}, "subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
	}
	status, body := post(t, base+"/oauth/token", "agent", "a-secret", form)
	token, ok := body["access_token"].(string)
	if status != http.StatusOK || !ok {
		t.Fatalf("exchange: %d %v", status, body)
	}
	id, err := v.Verify(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	if id.Subject.ID != "alice" || id.Subject.Groups[0] != "staff" || id.Actor == nil || id.Actor.ID != "agent" || id.Actor.Groups[0] != "analysts" {
		t.Errorf("got %+v acting %+v", id.Subject, id.Actor)
	}
	if inner, ok := id.Actor.Claims["act"].(map[string]any); !ok || inner["sub"] != "bot-7" {
		t.Errorf("the earlier actor is lost: %v", id.Actor.Claims)
	}
	form.Set("subject_token", "eyJhbGciOiJub25lIn0.e30.")
	if status, _ := post(t, base+"/oauth/token", "agent", "a-secret", form); status == http.StatusOK {
		t.Error("a made-up subject token was exchanged")
	}
}

// browser logs in as a person would: it opens the address, chooses a user and
// follows the redirects back to the waiting program.
func browser(user, password string, got *atomic.Value) func(string) error {
	return func(address string) error {
		jar, err := cookiejar.New(nil)
		if err != nil {
			return err
		}
		go func() {
			c := &http.Client{Jar: jar, Timeout: 5 * time.Second}
			resp, err := c.Get(address)
			if err != nil {
				return
			}
			_ = resp.Body.Close()
			at := resp.Request.URL
			form := url.Values{"id": {at.Query().Get("id")}, "user": {user}, "password": {password}}
			if resp, err = c.PostForm(at.Scheme+"://"+at.Host+"/login", form); err != nil {
				return
			}
			raw, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			got.Store(string(raw))
		}()
		return nil
	}
}

func TestLogin(t *testing.T) {
	_, base, v := start(t, nil)
	for _, user := range []struct{ id, password string }{{"carol", ""}, {"dave", "pw"}} {
		var page atomic.Value
		dir := t.TempDir()
		o := login.Options{Issuer: base, ClientID: devissuer.LoginClient, Login: true, Browser: browser(user.id, user.password, &page), CacheDir: dir}
		token, err := login.Token(t.Context(), o)
		if err != nil {
			t.Fatalf("%v: %v", err, page.Load())
		}
		id, err := v.Verify(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		if id.Subject.ID != user.id || id.Subject.ClientID != devissuer.LoginClient {
			t.Errorf("got %+v", id.Subject)
		}
		o.Browser = func(string) error { t.Error("the browser was opened though a token is kept"); return nil }
		again, err := login.Token(t.Context(), o)
		if err != nil || again != token {
			t.Errorf("the kept token was not used: %v", err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 1 {
			t.Fatalf("%d files, %v", len(entries), err)
		}
		if info, err := entries[0].Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
	}
	var page atomic.Value
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := login.Token(ctx, login.Options{Issuer: base, ClientID: devissuer.LoginClient, Login: true, Browser: browser("dave", "wrong", &page)}); err == nil {
		t.Error("a wrong password got a token")
	}
	var idToken string
	idToken, err := login.Token(t.Context(), login.Options{Issuer: base, ClientID: devissuer.LoginClient, Login: true, IDToken: true, Browser: browser("carol", "", &page)})
	if err != nil {
		t.Fatal(err)
	}
	id, err := v.Verify(t.Context(), idToken)
	if err != nil {
		t.Fatal(err)
	}
	if id.Subject.ID != "carol" || len(id.Subject.Groups) != 1 || id.Subject.Groups[0] != "dba" {
		t.Errorf("the ID token says %+v", id.Subject)
	}
}

func TestRefusals(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:80", "example.com:80", "nonsense"} {
		if l, err := devissuer.Listen(t.Context(), address); err == nil {
			_ = l.Close()
			t.Errorf("it listens on %s", address)
		}
	}
	for _, cfg := range []devissuer.Config{
		{},
		{Issuer: "http://example.com"},
		{Issuer: "https://127.0.0.1:1"},
		{Issuer: "http://127.0.0.1:1/"},
		{Issuer: "http://127.0.0.1:1", Algorithm: "HS256"},
		{Issuer: "http://127.0.0.1:1", Clients: []devissuer.Client{{ID: "a"}}},
		{Issuer: "http://127.0.0.1:1", Clients: []devissuer.Client{{ID: "a", Secret: "b"}, {ID: "a", Secret: "b"}}},
		{Issuer: "http://127.0.0.1:1", Users: []devissuer.User{{}}},
	} {
		if _, err := devissuer.New(cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
	_, base, _ := start(t, nil)
	for name, host := range map[string]string{"another name": "evil.example", "a name of another site on loopback": "evil.localhost.example:80"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/.well-known/openid-configuration", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusMisdirectedRequest {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
	}
}
