package identity_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/engine/identity/identitytest"
)

func TestNewKeyIsFoundAtOnce(t *testing.T) {
	iss, c := identitytest.New(t), newClock()
	v := open(t, c, config(iss))
	if _, err := v.Verify(t.Context(), iss.Mint(iss.Claims(audience, c.Now(), nil))); err != nil {
		t.Fatal(err)
	}
	iss.AddKey(identitytest.NewKey(t, "k2", "ES256"))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			token := iss.Mint(iss.Claims(audience, c.Now(), nil))
			if _, err := v.Verify(t.Context(), token); err != nil {
				t.Errorf("a token of the new key: %v", err)
			}
		})
	}
	wg.Wait()
}

func TestWithdrawnKeyStopsWorking(t *testing.T) {
	iss, c := identitytest.New(t), newClock()
	cfg := config(iss)
	cfg.Keys.MaxAge = time.Minute
	v := open(t, c, cfg)
	token := iss.Mint(iss.Claims(audience, c.Now(), nil))
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	iss.AddKey(identitytest.NewKey(t, "k2", "ES256"))
	iss.Withdraw("k1")
	c.Advance(61 * time.Second)
	// Remembered as it is, the token is refused: its key is gone.
	_, err := v.Verify(t.Context(), token)
	refused(t, err, identity.ReasonUnknownKey, token)
}

func TestKeyReplacedUnderTheSameID(t *testing.T) {
	iss, c := identitytest.New(t), newClock()
	v := open(t, c, config(iss))
	token := iss.Mint(iss.Claims(audience, c.Now(), nil))
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	iss.Withdraw("k1")
	iss.AddKey(identitytest.NewKey(t, "k1", "ES256"))
	// Within the tokens' life: past it they would be refused for their exp.
	c.Advance(5*time.Minute + time.Second)
	_, err := v.Verify(t.Context(), token)
	refused(t, err, identity.ReasonBadSignature, token)
}

func TestStormOfUnknownKeys(t *testing.T) {
	iss, c := identitytest.New(t), newClock()
	v := open(t, c, config(iss))
	if _, err := v.Verify(t.Context(), iss.Mint(iss.Claims(audience, c.Now(), nil))); err != nil {
		t.Fatal(err)
	}
	before := iss.KeyFetches()
	mallory := identitytest.NewKey(t, "", "ES256")
	claims := iss.Claims(audience, c.Now(), nil)
	storm := func(n int, kid func(int) any) {
		var wg sync.WaitGroup
		work := make(chan int)
		for range 8 {
			wg.Go(func() {
				for i := range work {
					header := map[string]any{"alg": "ES256", "typ": "JWT", "kid": kid(i)}
					if header["kid"] == nil {
						delete(header, "kid")
					}
					if _, err := v.Verify(t.Context(), mallory.Sign(t, header, claims)); err == nil {
						t.Error("a forged token passed")
					}
				}
			})
		}
		for i := range n {
			work <- i
		}
		close(work)
		wg.Wait()
	}
	storm(1000, func(i int) any { return fmt.Sprintf("unknown-%d", i) })
	if n := iss.KeyFetches() - before; n > 3 {
		t.Errorf("1,000 unknown keys caused %d fetches", n)
	}
	storm(100, func(int) any { return nil })
	if n := iss.KeyFetches() - before; n > 3 {
		t.Errorf("tokens without a kid caused fetches, %d in all", n)
	}
	// The same unknown key again and again is not looked for once the bound
	// has room again.
	c.Advance(10 * time.Second)
	storm(50, func(int) any { return "the-same" })
	after := iss.KeyFetches()
	c.Advance(20 * time.Second)
	storm(50, func(int) any { return "the-same" })
	if n := iss.KeyFetches() - after; n != 0 {
		t.Errorf("a key that is known not to be there was looked for %d times", n)
	}
	// And a real new key is found all the same.
	c.Advance(20 * time.Second)
	iss.AddKey(identitytest.NewKey(t, "k2", "ES256"))
	if _, err := v.Verify(t.Context(), iss.Mint(iss.Claims(audience, c.Now(), nil))); err != nil {
		t.Errorf("a new key after the storm: %v", err)
	}
}

func TestIssuerOutage(t *testing.T) {
	iss, c := identitytest.New(t), newClock()
	cfg := config(iss)
	cfg.Keys.MaxAge, cfg.Keys.StaleIfError = time.Minute, 2*time.Minute
	v := open(t, c, cfg)
	mint := func() string { return iss.Mint(iss.Claims(audience, c.Now(), nil)) }
	if _, err := v.Verify(t.Context(), mint()); err != nil {
		t.Fatal(err)
	}
	iss.SetDown(true)
	c.Advance(90 * time.Second)
	if _, err := v.Verify(t.Context(), mint()); err != nil {
		t.Errorf("soon after the outage began: %v", err)
	}
	if err := v.Ready(); err != nil {
		t.Errorf("not ready soon after the outage began: %v", err)
	}
	c.Advance(2 * time.Minute)
	token := mint()
	_, err := v.Verify(t.Context(), token)
	refused(t, err, identity.ReasonIssuerUnavailable, token)
	if err := v.Ready(); err == nil {
		t.Error("ready after a long outage")
	}
	before := iss.KeyFetches() + iss.Discoveries()
	for range 100 {
		if _, err := v.Verify(t.Context(), mint()); err == nil {
			t.Error("a token passed in a long outage")
		}
	}
	if n := iss.KeyFetches() + iss.Discoveries() - before; n > 2 {
		t.Errorf("%d fetches without a pause between", n)
	}
	iss.SetDown(false)
	c.Advance(31 * time.Second)
	if _, err := v.Verify(t.Context(), mint()); err != nil {
		t.Errorf("after the outage: %v", err)
	}
}

func TestIssuerThatStartsLate(t *testing.T) {
	one, late, c := identitytest.New(t), identitytest.New(t), newClock()
	late.SetDown(true)
	b := config(late)
	b.Name = "late"
	v := open(t, c, config(one), b)
	if _, err := v.Verify(t.Context(), one.Mint(one.Claims(audience, c.Now(), nil))); err != nil {
		t.Errorf("the issuer that is up: %v", err)
	}
	token := late.Mint(late.Claims(audience, c.Now(), nil))
	_, err := v.Verify(t.Context(), token)
	refused(t, err, identity.ReasonIssuerUnavailable, token)
	if err := v.Ready(); err == nil || !strings.Contains(err.Error(), `"late"`) {
		t.Errorf("readiness says %v", err)
	}
	late.SetDown(false)
	c.Advance(time.Minute)
	if _, err := v.Verify(t.Context(), late.Mint(late.Claims(audience, c.Now(), nil))); err != nil {
		t.Errorf("after it came up: %v", err)
	}
	if err := v.Ready(); err != nil {
		t.Error(err)
	}
}

func TestKeysThatAreNotAccepted(t *testing.T) {
	weak := `{"kty":"RSA","kid":"weak","n":"` + strings.Repeat("A", 100) + `8","e":"AQAB"}`
	for name, document := range map[string]func(good string) string{
		"symmetric":    func(good string) string { return `{"keys":[{"kty":"oct","kid":"k1","k":"c2VjcmV0"},` + good + `]}` },
		"weak RSA":     func(good string) string { return `{"keys":[` + weak + `,` + good + `]}` },
		"unknown type": func(good string) string { return `{"keys":[{"kty":"AKP","kid":"x","alg":"ML-DSA-44"},` + good + `]}` },
		"for encryption": func(good string) string {
			return `{"keys":[` + strings.Replace(good, `"use":"sig"`, `"use":"enc"`, 1) + `,` + good + `]}`
		},
		"not an object": func(good string) string { return `{"keys":[7,"x",null,` + good + `]}` },
		"listed twice":  func(good string) string { return `{"keys":[` + good + `,` + good + `]}` },
	} {
		t.Run("good beside "+name, func(t *testing.T) {
			iss, c := identitytest.New(t), newClock()
			iss.SetDocument([]byte(document(string(iss.Key().JWK()))))
			v := open(t, c, config(iss))
			if _, err := v.Verify(t.Context(), iss.Mint(iss.Claims(audience, c.Now(), nil))); err != nil {
				t.Error(err)
			}
		})
	}
	for name, tc := range map[string]struct {
		document func(t *testing.T, k *identitytest.Key) string
		want     string
	}{
		"one id for two keys": {func(t *testing.T, k *identitytest.Key) string {
			return `{"keys":[` + string(k.JWK()) + `,` + string(identitytest.NewKey(t, k.KID, "ES256").JWK()) + `]}`
		}, identity.ReasonUnknownKey},
		"for encryption only": {func(_ *testing.T, k *identitytest.Key) string {
			return `{"keys":[` + strings.Replace(string(k.JWK()), `"use":"sig"`, `"use":"enc"`, 1) + `]}`
		}, identity.ReasonUnknownKey},
		"key_ops without verify": {func(_ *testing.T, k *identitytest.Key) string {
			return `{"keys":[` + strings.Replace(string(k.JWK()), `"use":"sig"`, `"key_ops":["sign"]`, 1) + `]}`
		}, identity.ReasonUnknownKey},
		"bound to another algorithm": {func(_ *testing.T, k *identitytest.Key) string {
			return `{"keys":[` + strings.Replace(string(k.JWK()), `"alg":"ES256"`, `"alg":"ES384"`, 1) + `]}`
		}, identity.ReasonUnknownKey},
		"private key published": {func(_ *testing.T, k *identitytest.Key) string {
			return `{"keys":[` + strings.Replace(string(k.JWK()), `"use":"sig"`, `"use":"sig","d":"AAAA"`, 1) + `]}`
		}, identity.ReasonUnknownKey},
		"point not on the curve": {func(_ *testing.T, k *identitytest.Key) string {
			return `{"keys":[{"kty":"EC","crv":"P-256","kid":"k1","x":"` + strings.Repeat("A", 43) + `","y":"` + strings.Repeat("A", 43) + `"}]}`
		}, identity.ReasonUnknownKey},
		"no keys":     {func(*testing.T, *identitytest.Key) string { return `{"keys":[]}` }, identity.ReasonUnknownKey},
		"not a JWKS":  {func(*testing.T, *identitytest.Key) string { return `{"hello":1}` }, identity.ReasonIssuerUnavailable},
		"not JSON":    {func(*testing.T, *identitytest.Key) string { return `<html>` }, identity.ReasonIssuerUnavailable},
		"one key cut": {func(_ *testing.T, k *identitytest.Key) string { return `{"keys":[` + string(k.JWK()[:40]) }, identity.ReasonIssuerUnavailable},
		"very large": {func(_ *testing.T, k *identitytest.Key) string {
			return `{"keys":[` + string(k.JWK()) + `]}` + strings.Repeat(" ", 1<<20)
		}, identity.ReasonIssuerUnavailable},
		"endless keys": {func(_ *testing.T, k *identitytest.Key) string {
			return `{"keys":[` + strings.Repeat("7,", 200) + string(k.JWK()) + `]}`
		}, identity.ReasonIssuerUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			iss, c := identitytest.New(t), newClock()
			iss.SetDocument([]byte(tc.document(t, iss.Key())))
			v := open(t, c, config(iss))
			token := iss.Mint(iss.Claims(audience, c.Now(), nil))
			_, err := v.Verify(t.Context(), token)
			refused(t, err, tc.want, token)
		})
	}
}

func TestDiscovery(t *testing.T) {
	iss, c := identitytest.New(t), newClock()
	var asked atomic.Int64
	var document atomic.Value
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
			return
		}
		if r.Header.Get("Authorization") == "Bearer pod-token" {
			asked.Add(1)
		}
		_, _ = w.Write(document.Load().([]byte))
	}))
	defer other.Close()
	write := func(v any) {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		document.Store(raw)
	}
	token := iss.Mint(iss.Claims(audience, c.Now(), nil))

	cfg := config(iss)
	cfg.DiscoveryURL = other.URL + "/elsewhere"
	cfg.TokenFile = writeFile(t, "pod-token\n")
	write(map[string]string{"issuer": iss.URL, "jwks_uri": iss.URL + "/keys"})
	if _, err := open(t, c, cfg).Verify(t.Context(), token); err != nil {
		t.Errorf("discovery elsewhere: %v", err)
	}
	if asked.Load() == 0 {
		t.Error("the token file was not used")
	}
	for name, doc := range map[string]any{
		"of another issuer":      map[string]string{"issuer": "https://evil.example", "jwks_uri": iss.URL + "/keys"},
		"keys by plain http":     map[string]string{"issuer": iss.URL, "jwks_uri": "http://192.0.2.1/keys"},
		"keys in a file":         map[string]string{"issuer": iss.URL, "jwks_uri": "file:///etc/passwd"},
		"without an address":     map[string]string{"issuer": iss.URL},
		"redirected beyond loop": map[string]string{"issuer": iss.URL, "jwks_uri": other.URL + "/away"},
	} {
		write(doc)
		_, err := open(t, c, cfg).Verify(t.Context(), token)
		refused(t, err, identity.ReasonIssuerUnavailable, token)
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	cfg = config(iss)
	cfg.JWKSURL = iss.URL + "/keys"
	before := iss.Discoveries()
	if _, err := open(t, c, cfg).Verify(t.Context(), token); err != nil {
		t.Errorf("keys by address: %v", err)
	}
	if iss.Discoveries() != before {
		t.Error("discovery was asked though the keys' address is given")
	}
}

func TestLiveConnectionsNoticeAWithdrawnKey(t *testing.T) {
	iss, c := identitytest.New(t), newClock()
	cfg := config(iss)
	cfg.Keys.MaxAge = time.Second // the background fetch comes each half second
	v := open(t, c, cfg)
	id, err := v.Verify(t.Context(), iss.Mint(iss.Claims(audience, c.Now(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Still(id); err != nil {
		t.Error(err)
	}
	iss.AddKey(identitytest.NewKey(t, "k2", "ES256"))
	iss.Withdraw("k1")
	eventually(t, "the key's tokens are refused", func() bool { return v.Still(id) != nil })
	refused(t, v.Still(id), identity.ReasonUnknownKey, "")

	if id, err = v.Verify(t.Context(), iss.Mint(iss.Claims(audience, c.Now(), nil))); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if v.Still(id) != nil {
			t.Fatal("refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	c.Advance(5 * time.Minute) // exp, to the second: no skew on live connections
	refused(t, v.Still(id), identity.ReasonExpired, "")
	for _, id := range []*identity.Identity{nil, {}} {
		if v.Still(id) == nil {
			t.Error("an identity from nowhere is trusted")
		}
	}
}

func TestCloseEndsFetches(t *testing.T) {
	before := goleak.IgnoreCurrent()
	started, block := make(chan struct{}, 10), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		started <- struct{}{}
		select {
		case <-block:
		case <-r.Context().Done():
		}
	}))
	transport := &http.Transport{}
	v, err := identity.New(t.Context(), identity.Config{
		Issuers:   []identity.Issuer{{Name: "slow", URL: server.URL, Audiences: []string{audience}, InsecureHTTP: true}},
		Transport: transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	<-started
	v.Close()
	close(block)
	server.Close()
	transport.CloseIdleConnections()
	goleak.VerifyNone(t, before)
}

func TestIssuerWithACertificateOfItsOwn(t *testing.T) {
	iss, c := identitytest.NewTLS(t), newClock()
	cfg := config(iss)
	cfg.InsecureHTTP = false
	token := iss.Mint(iss.Claims(audience, c.Now(), nil))
	_, err := open(t, c, cfg).Verify(t.Context(), token)
	refused(t, err, identity.ReasonIssuerUnavailable, token)
	cfg.CAFile = iss.CAFile
	if _, err := open(t, c, cfg).Verify(t.Context(), token); err != nil {
		t.Error(err)
	}
}
