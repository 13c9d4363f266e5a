package identity_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/engine/identity/login"
)

// startProvider runs the certified provider of testdata/oidc-provider until
// the test ends and returns its URL.
func startProvider(t *testing.T, alg string) string {
	t.Helper()
	dir, err := filepath.Abs("../../testdata/oidc-provider")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Fatal("node and npm are needed for this test: `make test` installs them, as does `apt-get install nodejs npm`")
	}
	installProvider(t, dir)
	cmd := exec.CommandContext(t.Context(), "node", "provider.mjs")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "ALG="+alg)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close() // it ends with its standard input
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the provider did not start: %v\n%s", err, stderr.String())
	}
	var ready struct {
		Issuer string `json:"issuer"`
	}
	if err := json.Unmarshal([]byte(line), &ready); err != nil {
		t.Fatal(err)
	}
	return ready.Issuer
}

// installProvider runs npm where `make` has not done it yet. Test binaries that
// run at the same time share the folder, so the work is done under a lock.
func installProvider(t *testing.T, dir string) {
	t.Helper()
	// npm writes this file last; a new lock file makes it old.
	done := filepath.Join(dir, "node_modules", ".package-lock.json")
	wanted, err := os.Stat(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	lock := filepath.Join(dir, "node_modules.lock")
	for range 600 {
		if info, err := os.Stat(done); err == nil && info.ModTime().After(wanted.ModTime()) {
			return
		}
		if err = os.Mkdir(lock, 0o700); err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	defer func() { _ = os.Remove(lock) }()
	cmd := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	now := time.Now()
	if err := os.Chtimes(done, now, now); err != nil {
		t.Fatal(err)
	}
}

func rotate(t *testing.T, issuer, query string) {
	t.Helper()
	resp, err := http.Post(issuer+"/test/rotate"+query, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("rotate: %s", resp.Status)
	}
}

func headerOf(t *testing.T, token string) (typ, alg, kid string) {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[0])
	if err != nil {
		t.Fatal(err)
	}
	var h struct{ Typ, Alg, Kid string }
	if err := json.Unmarshal(raw, &h); err != nil {
		t.Fatal(err)
	}
	return h.Typ, h.Alg, h.Kid
}

func TestCertifiedProvider(t *testing.T) {
	for _, alg := range []string{"RS256", "ES256"} {
		t.Run(alg, func(t *testing.T) { certifiedProvider(t, alg) })
	}
}

func certifiedProvider(t *testing.T, alg string) {
	issuer := startProvider(t, alg)
	c := newClock()
	cfg := identity.Issuer{
		Name: "op", URL: issuer, Audiences: []string{"https://regate.example"}, InsecureHTTP: true,
		Types: []string{"at+jwt"}, RequiredClaims: map[string][]string{"client_id": nil},
	}
	v := open(t, c, cfg)
	token := func(client string, resource string) string {
		t.Helper()
		token, err := login.Token(t.Context(), login.Options{
			Issuer: issuer, ClientID: client, ClientSecret: "agent-secret", Scopes: []string{"db:read"}, Resource: resource,
		})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	first := token("agent", "https://regate.example")
	if typ, got, _ := headerOf(t, first); typ != "at+jwt" || got != alg {
		t.Fatalf("the provider made a token of type %q with %q", typ, got)
	}
	id, err := v.Verify(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	if s := id.Subject; s.ID != "agent" || s.ClientID != "agent" || fmt.Sprint(s.Groups, s.Scopes) != "[analysts] [db:read]" || s.Issuer != issuer || id.TokenID == "" {
		t.Errorf("got %+v", s)
	}

	other := token("agent", "https://elsewhere.example")
	_, err = v.Verify(t.Context(), other)
	refused(t, err, identity.ReasonWrongAudience, other)

	// A key turns: the new one is found at once, the old one still verifies.
	rotate(t, issuer, "")
	second := token("agent", "https://regate.example")
	_, _, kid1 := headerOf(t, first)
	_, _, kid2 := headerOf(t, second)
	if kid1 == kid2 {
		t.Fatal("the provider did not turn its key")
	}
	for _, token := range []string{second, first} {
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Error(err)
		}
	}
	// A key is withdrawn: it stops working within the keys' age.
	rotate(t, issuer, "?withdraw=1")
	third := token("agent", "https://regate.example")
	c.Advance(time.Minute)
	if _, err := v.Verify(t.Context(), third); err != nil {
		t.Error(err)
	}
	for _, token := range []string{second, first} {
		_, err := v.Verify(t.Context(), token)
		refused(t, err, identity.ReasonUnknownKey, token)
	}
	if _, err := login.Token(t.Context(), login.Options{Issuer: issuer, ClientID: "agent", ClientSecret: "wrong"}); err == nil || !strings.Contains(err.Error(), "invalid_client") {
		t.Errorf("a wrong secret: %v", err)
	}

	// A person: code with PKCE. The access token and the ID token are told
	// apart by type and audience.
	o := login.Options{
		Issuer: issuer, ClientID: "regate-cli", Login: true, Scopes: []string{"openid", "db:read"}, Resource: "https://regate.example",
		Browser: provideBrowser("carol"),
	}
	personal, err := login.Token(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if id, err = v.Verify(t.Context(), personal); err != nil {
		t.Fatal(err)
	}
	if id.Subject.ID != "carol" || id.Subject.ClientID != "regate-cli" || id.Subject.Groups[0] != "dba" {
		t.Errorf("got %+v", id.Subject)
	}
	o.IDToken, o.Browser = true, provideBrowser("carol")
	idToken, err := login.Token(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	_, err = v.Verify(t.Context(), idToken)
	refused(t, err, identity.ReasonType, idToken)
	cfg.Types, cfg.Audiences, cfg.RequiredClaims = []string{"JWT", ""}, []string{"regate-cli"}, nil
	if id, err = open(t, c, cfg).Verify(t.Context(), idToken); err != nil {
		t.Fatal(err)
	}
	if id.Subject.ID != "carol" || id.Subject.Groups[0] != "dba" {
		t.Errorf("the ID token says %+v", id.Subject)
	}
}

var (
	prompt = regexp.MustCompile(`name="prompt" value="(\w+)"`)
	action = regexp.MustCompile(`action="([^"]+)"`)
)

// provideBrowser logs in on the provider's development pages as a person
// would: first the login, then the consent.
func provideBrowser(user string) func(string) error {
	return func(address string) error {
		jar, err := cookiejar.New(nil)
		if err != nil {
			return err
		}
		go func() {
			c := &http.Client{Jar: jar, Timeout: 10 * time.Second}
			resp, err := c.Get(address)
			for range 4 {
				if err != nil {
					return
				}
				raw, readErr := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				what, where := prompt.FindSubmatch(raw), action.FindSubmatch(raw)
				if readErr != nil || what == nil || where == nil {
					return // the page of the waiting program
				}
				next, parseErr := resp.Request.URL.Parse(string(where[1]))
				if parseErr != nil {
					return
				}
				resp, err = c.PostForm(next.String(), url.Values{"prompt": {string(what[1])}, "login": {user}, "password": {"any"}})
			}
		}()
		return nil
	}
}
