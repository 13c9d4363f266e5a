package login_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regate-dev/regate/engine/identity/login"
)

// provider answers as a test says: good discovery, and tokens that count up.
type provider struct {
	*httptest.Server
	tokens   atomic.Int64
	discover func(base string) map[string]any // changes the document
	token    func(w http.ResponseWriter, r *http.Request) bool
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			doc := map[string]any{"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys"}
			if p.discover != nil {
				for k, v := range p.discover(p.URL) {
					doc[k] = v
				}
			}
			_ = json.NewEncoder(w).Encode(doc)
		case "/token":
			if p.token != nil && p.token(w, r) {
				return
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "token-" + string('0'+rune(p.tokens.Add(1))), "token_type": "Bearer", "expires_in": 300})
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *provider) machine() login.Options {
	return login.Options{Issuer: p.URL, ClientID: "agent", ClientSecret: "s3cret"}
}

func TestTokenIsKeptUntilShortlyBeforeItExpires(t *testing.T) {
	p, dir, now := newProvider(t), t.TempDir(), time.Now()
	o := p.machine()
	o.CacheDir, o.Clock = dir, func() time.Time { return now }
	get := func(o login.Options) string {
		t.Helper()
		token, err := login.Token(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	if first, second := get(o), get(o); first != "token-1" || second != "token-1" {
		t.Errorf("got %s and %s", first, second)
	}
	for name, change := range map[string]func(*login.Options){
		"another client":   func(o *login.Options) { o.ClientID = "other" },
		"another secret":   func(o *login.Options) { o.ClientSecret = "other" },
		"another scope":    func(o *login.Options) { o.Scopes = []string{"x"} },
		"another audience": func(o *login.Options) { o.Audiences = []string{"x"} },
		"another resource": func(o *login.Options) { o.Resource = "https://x" },
	} {
		other := o
		change(&other)
		if get(other) == "token-1" {
			t.Errorf("%s got the kept token", name)
		}
	}
	before := p.tokens.Load()
	now = now.Add(235 * time.Second)
	if get(o); p.tokens.Load() != before {
		t.Error("a token with 65 s to go was not used")
	}
	now = now.Add(10 * time.Second)
	if get(o); p.tokens.Load() != before+1 {
		t.Error("a token with 55 s to go was used")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", f, info.Mode(), err)
		}
		raw, err := os.ReadFile(f)
		if err != nil || strings.Contains(string(raw), "s3cret") {
			t.Errorf("%s holds the secret, or %v", f, err)
		}
	}
}

func TestKeptTokenIsNotBelieved(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, file string){
		"readable by others": func(t *testing.T, file string) { must(t, os.Chmod(file, 0o644)) },
		"cut":                func(t *testing.T, file string) { must(t, os.WriteFile(file, []byte(`{"token":"x"`), 0o600)) },
		"a link": func(t *testing.T, file string) {
			must(t, os.Rename(file, file+".moved"))
			must(t, os.Symlink(file+".moved", file))
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, dir := newProvider(t), t.TempDir()
			o := p.machine()
			o.CacheDir = dir
			if _, err := login.Token(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			files, err := filepath.Glob(filepath.Join(dir, "token-*"))
			if err != nil || len(files) != 1 {
				t.Fatal(files, err)
			}
			spoil(t, files[0])
			if token, err := login.Token(t.Context(), o); err != nil || token != "token-2" {
				t.Errorf("got %s, %v", token, err)
			}
		})
	}
	// A folder that cannot be written costs the cache, not the token.
	p, file := newProvider(t), filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	o := p.machine()
	var said strings.Builder
	o.CacheDir, o.Prompt = filepath.Join(file, "sub"), &said
	if token, err := login.Token(t.Context(), o); err != nil || token != "token-1" || said.Len() == 0 {
		t.Errorf("got %s, %v, said %q", token, err, said.String())
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestSecretsGoToTheIssuerAlone(t *testing.T) {
	var stolen atomic.Int64
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		if r.Header.Get("Authorization") != "" || strings.Contains(string(raw), "s3cret") {
			stolen.Add(1)
		}
	}))
	defer thief.Close()
	for name, prepare := range map[string]func(*provider){
		"redirected": func(p *provider) {
			p.token = func(w http.ResponseWriter, r *http.Request) bool {
				http.Redirect(w, r, thief.URL, http.StatusTemporaryRedirect)
				return true
			}
		},
		"a token address by http": func(p *provider) {
			p.discover = func(string) map[string]any { return map[string]any{"token_endpoint": "http://192.0.2.1/token"} }
		},
		"a document of another issuer": func(p *provider) {
			p.discover = func(string) map[string]any { return map[string]any{"issuer": thief.URL} }
		},
	} {
		p := newProvider(t)
		prepare(p)
		if token, err := login.Token(t.Context(), p.machine()); err == nil {
			t.Errorf("%s: got %s", name, token)
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error holds the secret", name)
		}
	}
	if stolen.Load() != 0 {
		t.Error("the secret went elsewhere")
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, o := range map[string]login.Options{
		"nothing":       {},
		"no client":     {Issuer: "https://id.example"},
		"no secret":     {Issuer: "https://id.example", ClientID: "a"},
		"http":          {Issuer: "http://id.example", ClientID: "a", ClientSecret: "b"},
		"no URL":        {Issuer: "id.example", ClientID: "a", ClientSecret: "b"},
		"lone ID token": {Issuer: "https://id.example", ClientID: "a", ClientSecret: "b", IDToken: true},
	} {
		if _, err := login.Token(t.Context(), o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// person starts a login and gives what the browser was asked to open.
func person(ctx context.Context, p *provider) (address *url.URL, done <-chan error) {
	opened, result := make(chan *url.URL, 1), make(chan error, 1)
	go func() {
		_, err := login.Token(ctx, login.Options{Issuer: p.URL, ClientID: "cli", Login: true, Browser: func(s string) error {
			u, err := url.Parse(s)
			opened <- u
			return err
		}})
		result <- err
	}()
	return <-opened, result
}

func get(t *testing.T, address string) int {
	t.Helper()
	resp, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func TestLoginAsksWithPKCE(t *testing.T) {
	p := newProvider(t)
	verifier := make(chan string, 1)
	p.token = func(_ http.ResponseWriter, r *http.Request) bool {
		verifier <- r.FormValue("code") + " " + r.FormValue("code_verifier")
		return false
	}
	address, done := person(t.Context(), p)
	q := address.Query()
	if q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 || len(q.Get("state")) < 20 || q.Get("response_type") != "code" || q.Get("scope") != "openid" {
		t.Errorf("asked %v", q)
	}
	back := q.Get("redirect_uri")
	if u, err := url.Parse(back); err != nil || u.Hostname() != "127.0.0.1" {
		t.Errorf("comes back to %s", back)
	}
	// A stranger's answers neither end the login nor are taken.
	for _, query := range []string{"", "?code=evil", "?code=evil&state=guess", "?error=access_denied"} {
		if status := get(t, back+query); status != http.StatusBadRequest {
			t.Errorf("%q: %d", query, status)
		}
	}
	if status := get(t, back+"?code=good&iss="+url.QueryEscape(p.URL)+"&state="+url.QueryEscape(q.Get("state"))); status != http.StatusOK {
		t.Errorf("the answer: %d", status)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := <-verifier; !strings.HasPrefix(got, "good ") || len(got) < 48 {
		t.Errorf("exchanged %q", got)
	}
}

func TestLoginIsRefused(t *testing.T) {
	for query, want := range map[string]string{
		"error=access_denied&error_description=no": "access_denied: no",
		"code=x&iss=https://evil.example":          "another issuer",
		"":                                         "no code",
	} {
		address, done := person(t.Context(), newProvider(t))
		q := address.Query()
		if status := get(t, q.Get("redirect_uri")+"?"+query+"&state="+url.QueryEscape(q.Get("state"))); status != http.StatusBadRequest {
			t.Errorf("%q: %d", query, status)
		}
		if err := <-done; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", query, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, done := person(ctx, newProvider(t))
	cancel()
	if err := <-done; err == nil {
		t.Error("a login that nobody finished gave a token")
	}
}
