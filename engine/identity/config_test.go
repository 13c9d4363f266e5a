package identity_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regate-dev/regate/engine/identity"
)

func writeFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestConfigurationIsChecked(t *testing.T) {
	good := func() identity.Issuer {
		return identity.Issuer{Name: "a", URL: "https://id.example", Audiences: []string{"regate"}}
	}
	for want, change := range map[string]func(*identity.Issuer){
		"name is empty":                func(i *identity.Issuer) { i.Name = "" },
		"audiences":                    func(i *identity.Issuer) { i.Audiences = nil },
		"none may be empty":            func(i *identity.Issuer) { i.Audiences = []string{"x", ""} },
		"url is empty":                 func(i *identity.Issuer) { i.URL = "" },
		"is not https":                 func(i *identity.Issuer) { i.URL = "http://id.example" },
		"http is allowed to loopback":  func(i *identity.Issuer) { i.URL = "http://id.example"; i.InsecureHTTP = true },
		`"none" is not an asymmetric`:  func(i *identity.Issuer) { i.Algorithms = []string{"none"} },
		`"HS256" is not an asymmetric`: func(i *identity.Issuer) { i.Algorithms = []string{"RS256", "HS256"} },
		"more than 5m":                 func(i *identity.Issuer) { i.ClockSkew = time.Hour },
		"max token age":                func(i *identity.Issuer) { i.MaxTokenAge = -1 },
		"profile":                      func(i *identity.Issuer) { i.Profile = "okta" },
		"trust domain: the spiffe":     func(i *identity.Issuer) { i.Profile = identity.ProfileSPIFFE },
		"trust domain has no effect":   func(i *identity.Issuer) { i.TrustDomain = "x.example" },
		"empty part":                   func(i *identity.Issuer) { i.Claims.Groups = []string{"a..b"} },
		"ends with a backslash":        func(i *identity.Issuer) { i.Claims.ClientID = []string{`a\`} },
		"a tilde":                      func(i *identity.Issuer) { i.Claims.Scopes = []string{"/a~2"} },
		"a claim path is empty":        func(i *identity.Issuer) { i.RequiredClaims = map[string][]string{"": nil} },
		`pattern "a\\" ends`:           func(i *identity.Issuer) { i.RequiredClaims = map[string][]string{"a": {`a\`}} },
		"jwks_url":                     func(i *identity.Issuer) { i.JWKSURL = "ftp://x" },
		"discovery_url has no effect":  func(i *identity.Issuer) { i.JWKSURL, i.DiscoveryURL = "https://x/k", "https://x/d" },
		"client_id and client_secret":  func(i *identity.Issuer) { i.Introspection = &identity.Introspection{} },
		"ca_file":                      func(i *identity.Issuer) { i.CAFile = "/nowhere" },
		"no certificate":               func(i *identity.Issuer) { i.CAFile = os.Args[0] },
		"max age must be at least":     func(i *identity.Issuer) { i.Keys.MaxAge = time.Millisecond },
		"without user and fragment":    func(i *identity.Issuer) { i.URL = "https://u:p@id.example" },
		"introspection: url: \"http://x\"": func(i *identity.Issuer) {
			i.Introspection = &identity.Introspection{URL: "http://x", ClientID: "a", ClientSecret: "b"}
		},
	} {
		iss := good()
		change(&iss)
		v, err := identity.New(t.Context(), identity.Config{Issuers: []identity.Issuer{iss}})
		if err == nil {
			v.Close()
			t.Errorf("accepted, want an error with %q", want)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want %q", err, want)
		}
	}
	// Every problem at once.
	bad := good()
	bad.Audiences, bad.Algorithms, bad.ClockSkew = nil, []string{"HS512"}, time.Hour
	_, err := identity.New(t.Context(), identity.Config{Issuers: []identity.Issuer{bad, good(), good()}})
	for _, want := range []string{"audiences", "HS512", "more than 5m", "configured twice", "another issuer has the url"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}

func TestNobodyIsTrustedByDefault(t *testing.T) {
	v, err := identity.New(t.Context(), identity.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	_, err = v.Verify(t.Context(), "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUifQ.AAAA")
	refused(t, err, identity.ReasonUnknownIssuer, "")
	if err := v.Ready(); err != nil {
		t.Error(err)
	}
}
