package identity_test

import (
	"context"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/engine/identity/identitytest"
)

const audience = "regate"

// clock is a clock that tests set.
type clock struct{ now atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.now.Store(time.Now().UnixNano())
	return c
}

func (c *clock) Now() time.Time          { return time.Unix(0, c.now.Load()) }
func (c *clock) Advance(d time.Duration) { c.now.Add(int64(d)) }

func config(i *identitytest.Issuer) identity.Issuer {
	return identity.Issuer{Name: "test", URL: i.URL, Audiences: []string{"other", audience}, InsecureHTTP: true}
}

func open(t testing.TB, c *clock, issuers ...identity.Issuer) *identity.Verifier {
	t.Helper()
	v, err := identity.New(t.Context(), identity.Config{Issuers: issuers, Clock: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// refused fails the test unless err is a refusal for the reason whose text
// holds no part of the token.
func refused(t testing.TB, err error, reason, token string) {
	t.Helper()
	var refusal *identity.Error
	if !errors.As(err, &refusal) {
		t.Fatalf("got %v, want a refusal for %s", err, reason)
	}
	if refusal.Reason != reason {
		t.Fatalf("got %s, want %s", refusal.Reason, reason)
	}
	if refusal.Message == "" || refusal.Hint == "" {
		t.Errorf("%s has no message or hint", reason)
	}
	text := refusal.Error() + refusal.Hint + fmt.Sprint(errors.Unwrap(refusal))
	for _, part := range strings.Split(token, ".") {
		if len(part) > 8 && strings.Contains(text, part) {
			t.Errorf("the refusal repeats the token: %s", text)
		}
	}
}

func TestVerify(t *testing.T) {
	iss, c := identitytest.New(t), newClock()
	v := open(t, c, config(iss))
	for range 2 { // the second time from the cache
		id, err := v.Verify(t.Context(), iss.Mint(iss.Claims(audience, c.Now(), map[string]any{
			"groups": []string{"b", "a", "b"}, "scope": "db:write db:read",
			"act": map[string]any{"sub": "bot-7", "client_id": "runner", "act": map[string]any{"sub": "deeper"}},
		})))
		if err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(struct {
			Subject, Actor any
			Name           string
		}{id.Subject, id.Actor, id.IssuerName})
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			`"id":"agent-1","issuer":"` + iss.URL + `","client_id":"client-1","groups":["a","b"],"scopes":["db:read","db:write"]`,
			`"Actor":{"id":"bot-7","issuer":"` + iss.URL + `","client_id":"runner","groups":[],"scopes":[]`,
			`"Name":"test"`,
		} {
			if !strings.Contains(string(got), want) {
				t.Errorf("%s is not in %s", want, got)
			}
		}
		if id.Actor.ID == "deeper" || !id.ExpiresAt.Equal(time.Unix(c.Now().Unix()+300, 0)) || !id.IssuedAt.Equal(time.Unix(c.Now().Unix(), 0)) || !strings.HasPrefix(id.TokenID, "jti-") {
			t.Errorf("got %+v", id)
		}
	}
}

func TestVerifyRemembers(t *testing.T) {
	iss, c := identitytest.New(t), newClock()
	v := open(t, c, config(iss))
	token := iss.Mint(iss.Claims(audience, c.Now(), map[string]any{"jti": nil}))
	first, err := v.Verify(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	second, err := v.Verify(t.Context(), token)
	if err != nil || second != first {
		t.Errorf("got %p and %v, want the same identity %p", second, err, first)
	}
	sum := sha256.Sum256([]byte(token))
	if want := fmt.Sprintf("sha256:%x", sum); first.TokenID != want {
		t.Errorf("token id %q, want %q", first.TokenID, want)
	}
	c.Advance(5*time.Minute + 31*time.Second)
	_, err = v.Verify(t.Context(), token)
	refused(t, err, identity.ReasonExpired, token)
}

func TestVerifyClaims(t *testing.T) {
	iss, c := identitytest.New(t), newClock()
	cfg := config(iss)
	cfg.RequiredClaims = map[string][]string{"tenant": {"acme", "acme-*"}, "/org/unit": nil}
	cfg.MaxTokenAge = time.Hour
	cfg.ActorIssuers = []string{"https://actors.example"}
	v := open(t, c, cfg)
	now := c.Now()
	good := map[string]any{"tenant": "acme-eu", "org": map[string]any{"unit": "x"}}
	for name, tc := range map[string]struct {
		change map[string]any
		want   string // "" for accepted
	}{
		"good":                    {nil, ""},
		"audience list":           {map[string]any{"aud": []string{"x", "other"}}, ""},
		"within skew":             {map[string]any{"exp": now.Add(-20 * time.Second).Unix()}, ""},
		"fractional dates":        {map[string]any{"iat": float64(now.UnixMilli()) / 1000}, ""},
		"list of tenants":         {map[string]any{"tenant": []any{1, "acme"}}, ""},
		"expired":                 {map[string]any{"exp": now.Add(-31 * time.Second).Unix()}, identity.ReasonExpired},
		"no exp":                  {map[string]any{"exp": nil}, identity.ReasonMissingClaim},
		"exp as text":             {map[string]any{"exp": "2099"}, identity.ReasonMalformed},
		"exp huge":                {map[string]any{"exp": 1e18}, identity.ReasonMalformed},
		"exp negative":            {map[string]any{"exp": -5}, identity.ReasonMalformed},
		"nbf ahead":               {map[string]any{"nbf": now.Add(time.Minute).Unix()}, identity.ReasonNotYetValid},
		"iat ahead":               {map[string]any{"iat": now.Add(time.Minute).Unix()}, identity.ReasonNotYetValid},
		"too old":                 {map[string]any{"iat": now.Add(-2 * time.Hour).Unix()}, identity.ReasonTooOld},
		"no iat, age asked":       {map[string]any{"iat": nil}, identity.ReasonMissingClaim},
		"wrong audience":          {map[string]any{"aud": "regate2"}, identity.ReasonWrongAudience},
		"no audience":             {map[string]any{"aud": nil}, identity.ReasonWrongAudience},
		"empty audience list":     {map[string]any{"aud": []string{}}, identity.ReasonWrongAudience},
		"no sub":                  {map[string]any{"sub": nil}, identity.ReasonMissingClaim},
		"empty sub":               {map[string]any{"sub": ""}, identity.ReasonMissingClaim},
		"tenant other":            {map[string]any{"tenant": "acmeeu"}, identity.ReasonMissingClaim},
		"tenant absent":           {map[string]any{"tenant": nil}, identity.ReasonMissingClaim},
		"tenant an object":        {map[string]any{"tenant": map[string]any{"acme": 1}}, identity.ReasonMissingClaim},
		"unit null":               {map[string]any{"org": map[string]any{"unit": nil}}, identity.ReasonMissingClaim},
		"org not an object":       {map[string]any{"org": "unit"}, identity.ReasonMissingClaim},
		"unknown issuer":          {map[string]any{"iss": "https://evil.example"}, identity.ReasonUnknownIssuer},
		"issuer with slash":       {map[string]any{"iss": iss.URL + "/"}, identity.ReasonUnknownIssuer},
		"issuer in capitals":      {map[string]any{"iss": strings.ToUpper(iss.URL)}, identity.ReasonUnknownIssuer},
		"no issuer":               {map[string]any{"iss": nil}, identity.ReasonUnknownIssuer},
		"issuer list":             {map[string]any{"iss": []string{iss.URL}}, identity.ReasonMalformed},
		"actor":                   {map[string]any{"act": map[string]any{"sub": "a"}}, ""},
		"actor of accepted":       {map[string]any{"act": map[string]any{"sub": "a", "iss": "https://actors.example"}}, ""},
		"actor of another":        {map[string]any{"act": map[string]any{"sub": "a", "iss": "https://evil.example"}}, identity.ReasonActor},
		"actor without sub":       {map[string]any{"act": map[string]any{"client_id": "a"}}, identity.ReasonActor},
		"actor a string":          {map[string]any{"act": "a"}, identity.ReasonActor},
		"jti a number":            {map[string]any{"jti": 5}, identity.ReasonMalformed},
		"SUB beside sub":          {map[string]any{"SUB": "root"}, identity.ReasonMalformed},
		"iss in another case too": {map[string]any{"Iss": "https://evil.example"}, identity.ReasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			claims := iss.Claims(audience, now, good)
			for k, v := range tc.change {
				claims[k] = v
				if v == nil {
					delete(claims, k)
				}
			}
			token := iss.Mint(claims)
			_, err := v.Verify(t.Context(), token)
			if tc.want != "" {
				refused(t, err, tc.want, token)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestVerifyRefusesForgeries(t *testing.T) {
	iss, c := identitytest.New(t), newClock()
	rsaKey := identitytest.NewKey(t, "rsa1", "RS256")
	iss.AddKey(rsaKey)
	var attacked atomic.Int64
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { attacked.Add(1) }))
	defer evil.Close()
	cfg := config(iss)
	cfg.Keys.MinRefresh = time.Nanosecond
	v := open(t, c, cfg)

	mallory := identitytest.NewKey(t, "rsa1", "RS256")
	claims := iss.Claims(audience, c.Now(), nil)
	header := func(change map[string]any) map[string]any {
		h := map[string]any{"alg": "RS256", "typ": "at+jwt", "kid": "rsa1"}
		for k, v := range change {
			h[k] = v
			if v == nil {
				delete(h, k)
			}
		}
		return h
	}
	genuine := rsaKey.Sign(t, header(nil), claims)
	if _, err := v.Verify(t.Context(), genuine); err != nil {
		t.Fatalf("the genuine token: %v", err)
	}
	parts := strings.Split(genuine, ".")

	pub := rsaKey.Private.Public().(*rsa.PublicKey)
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	hs := func(alg string, secret []byte) string {
		signing := identitytest.Encode(t, header(map[string]any{"alg": alg})) + "." + identitytest.Encode(t, claims)
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(signing))
		return signing + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	payload := func(raw string) string { return rsaKey.Sign(t, header(nil), []byte(raw)) }
	deep := strings.Repeat(`{"a":`, 1500) + "1" + strings.Repeat("}", 1500)
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	with := func(member string) string { return string(body[:len(body)-1]) + "," + member + "}" }

	for name, tc := range map[string]struct{ token, want string }{
		"nothing":               {"", identity.ReasonMissing},
		"alg none":              {identitytest.Encode(t, header(map[string]any{"alg": "none"})) + "." + parts[1] + ".", identity.ReasonAlgorithm},
		"alg nOnE":              {identitytest.Encode(t, header(map[string]any{"alg": "nOnE"})) + "." + parts[1] + ".", identity.ReasonAlgorithm},
		"alg none, signed":      {identitytest.Encode(t, header(map[string]any{"alg": "none"})) + "." + parts[1] + "." + parts[2], identity.ReasonAlgorithm},
		"HS256 with PEM":        {hs("HS256", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), identity.ReasonAlgorithm},
		"HS256 with PEM, cut":   {hs("HS256", []byte(strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))))), identity.ReasonAlgorithm},
		"HS256 with DER":        {hs("HS256", der), identity.ReasonAlgorithm},
		"HS256 with PKCS1":      {hs("HS256", x509.MarshalPKCS1PublicKey(pub)), identity.ReasonAlgorithm},
		"HS256 with modulus":    {hs("HS256", pub.N.Bytes()), identity.ReasonAlgorithm},
		"HMAC called RS256":     {hs("RS256", der), identity.ReasonBadSignature},
		"alg absent":            {rsaKey.Sign(t, header(map[string]any{"alg": nil}), claims), identity.ReasonMalformed},
		"alg a list":            {rsaKey.Sign(t, header(map[string]any{"alg": []string{"RS256"}}), claims), identity.ReasonMalformed},
		"alg in small letters":  {rsaKey.Sign(t, header(map[string]any{"alg": "rs256"}), claims), identity.ReasonAlgorithm},
		"alg RS384":             {rsaKey.Sign(t, header(map[string]any{"alg": "RS384"}), claims), identity.ReasonAlgorithm},
		"alg of another family": {rsaKey.Sign(t, header(map[string]any{"alg": "ES256"}), claims), identity.ReasonUnknownKey},
		"another's key":         {mallory.Sign(t, header(nil), claims), identity.ReasonBadSignature},
		"another's key, no kid": {mallory.Sign(t, header(map[string]any{"kid": nil}), claims), identity.ReasonBadSignature},
		"embedded jwk":          {mallory.Sign(t, header(map[string]any{"jwk": mallory.JWK()}), claims), identity.ReasonBadSignature},
		"embedded jwk, own kid": {mallory.Sign(t, header(map[string]any{"jwk": mallory.JWK(), "kid": "evil"}), claims), identity.ReasonUnknownKey},
		"jku":                   {mallory.Sign(t, header(map[string]any{"jku": evil.URL + "/keys", "kid": "evil"}), claims), identity.ReasonUnknownKey},
		"x5u":                   {mallory.Sign(t, header(map[string]any{"x5u": evil.URL + "/cert"}), claims), identity.ReasonBadSignature},
		"x5c":                   {mallory.Sign(t, header(map[string]any{"x5c": []string{base64.StdEncoding.EncodeToString(der)}}), claims), identity.ReasonMalformed},
		"kid a path":            {mallory.Sign(t, header(map[string]any{"kid": "../../../../dev/null"}), claims), identity.ReasonUnknownKey},
		"kid an address":        {mallory.Sign(t, header(map[string]any{"kid": evil.URL + "/k"}), claims), identity.ReasonUnknownKey},
		"kid SQL":               {mallory.Sign(t, header(map[string]any{"kid": "x' UNION SELECT 'secret';--"}), claims), identity.ReasonUnknownKey},
		"kid empty":             {mallory.Sign(t, header(map[string]any{"kid": ""}), claims), identity.ReasonUnknownKey},
		"kid a number":          {mallory.Sign(t, header(map[string]any{"kid": 1}), claims), identity.ReasonMalformed},
		"kid huge":              {mallory.Sign(t, header(map[string]any{"kid": strings.Repeat("k", 9000)}), claims), identity.ReasonUnknownKey},
		"two kids":              {rawHeader(t, mallory, `{"alg":"RS256","kid":"rsa1","kid":"evil"}`, claims), identity.ReasonMalformed},
		"two algs":              {rawHeader(t, rsaKey, `{"alg":"none","alg":"RS256","kid":"rsa1"}`, claims), identity.ReasonMalformed},
		"ALG beside alg":        {rawHeader(t, rsaKey, `{"alg":"RS256","Alg":"none","kid":"rsa1"}`, claims), identity.ReasonMalformed},
		"crit":                  {rsaKey.Sign(t, header(map[string]any{"crit": []string{"x"}, "x": 1}), claims), identity.ReasonMalformed},
		"b64 false":             {rsaKey.Sign(t, header(map[string]any{"b64": false}), claims), identity.ReasonMalformed},
		"typ of a logout token": {rsaKey.Sign(t, header(map[string]any{"typ": "logout+jwt"}), claims), identity.ReasonType},
		"typ dpop":              {rsaKey.Sign(t, header(map[string]any{"typ": "dpop+jwt"}), claims), identity.ReasonType},
		"typ a number":          {rsaKey.Sign(t, header(map[string]any{"typ": 1}), claims), identity.ReasonMalformed},
		"payload changed":       {parts[0] + "." + identitytest.Encode(t, iss.Claims(audience, c.Now(), map[string]any{"sub": "root"})) + "." + parts[2], identity.ReasonBadSignature},
		"signature of zeros":    {zeros(t, iss, claims), identity.ReasonBadSignature},
		"signature cut":         {genuine[:len(genuine)-6], identity.ReasonBadSignature},
		"no signature":          {parts[0] + "." + parts[1] + ".", identity.ReasonMalformed},
		"truncated":             {genuine[:len(parts[0])+40], identity.ReasonMalformed},
		"two parts":             {parts[0] + "." + parts[1], identity.ReasonMalformed},
		"four parts":            {genuine + ".x", identity.ReasonMalformed},
		"JWE of five parts":     {genuine + ".x.y", identity.ReasonMalformed},
		"padding":               {parts[0] + "=." + parts[1] + "." + parts[2], identity.ReasonMalformed},
		"space before":          {" " + genuine, identity.ReasonMalformed},
		"line break within":     {parts[0] + "." + parts[1] + ".\n" + parts[2], identity.ReasonMalformed},
		"line break after":      {genuine + "\n", identity.ReasonMalformed},
		"Bearer before":         {"Bearer " + genuine, identity.ReasonMalformed},
		"JSON serialisation":    {`{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, identity.ReasonMalformed},
		"loose base64":          {loose(parts[0]) + "." + parts[1] + "." + parts[2], identity.ReasonMalformed},
		"oversized":             {genuine + strings.Repeat("A", 16<<10), identity.ReasonOversized},
		"huge nesting":          {payload(deep), identity.ReasonMalformed},
		"nested lists":          {payload(with(`"x":` + strings.Repeat("[", 3000) + strings.Repeat("]", 3000))), identity.ReasonMalformed},
		"two subs":              {payload(with(`"sub":"root"`)), identity.ReasonMalformed},
		"two subs, escaped":     {payload(with(`"s\u0075b":"root"`)), identity.ReasonMalformed},
		"two groups deep down":  {payload(with(`"realm":{"roles":["a"],"roles":["admin"]}`)), identity.ReasonMalformed},
		"two values":            {payload(string(body) + "{}"), identity.ReasonMalformed},
		"a list of claims":      {payload("[" + string(body) + "]"), identity.ReasonMalformed},
		"null claims":           {payload("null"), identity.ReasonMalformed},
		"invalid UTF-8":         {payload(with("\"x\":\"\xff\"")), identity.ReasonMalformed},
		"number too large":      {payload(with(`"x":1e999`)), identity.ReasonMalformed},
		"not JSON":              {payload("sub=root"), identity.ReasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := v.Verify(t.Context(), tc.token)
			refused(t, err, tc.want, tc.token)
		})
	}
	if n := attacked.Load(); n != 0 {
		t.Errorf("an address in a token was fetched %d times", n)
	}
	if _, err := v.Verify(t.Context(), genuine); err != nil {
		t.Errorf("the genuine token after the forgeries: %v", err)
	}
}

// zeros is the signature that some verifiers of ECDSA took for any message.
func zeros(t *testing.T, iss *identitytest.Issuer, claims any) string {
	t.Helper()
	return identitytest.Encode(t, map[string]any{"alg": "ES256", "kid": "k1"}) + "." + identitytest.Encode(t, claims) + "." + identitytest.Encode(t, make([]byte, 64))
}

func rawHeader(t *testing.T, k *identitytest.Key, header string, claims any) string {
	t.Helper()
	return k.SignRaw(t, identitytest.Encode(t, []byte(header)), identitytest.Encode(t, claims))
}

// loose sets bits that a lax base64 decoder ignores, where there are any.
func loose(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	if len(s)%4 == 0 {
		return s + "A" // no spare bits: an impossible length instead
	}
	i := strings.IndexByte(alphabet, s[len(s)-1])
	return s[:len(s)-1] + string(alphabet[i+1])
}

func TestVerifyTypes(t *testing.T) {
	iss, c := identitytest.New(t), newClock()
	v := open(t, c, config(iss))
	k := iss.Key()
	for _, typ := range []any{"at+jwt", "AT+JWT", "application/at+jwt", "JWT", nil} {
		header := map[string]any{"alg": k.Alg, "kid": k.KID}
		if typ != nil {
			header["typ"] = typ
		}
		if _, err := v.Verify(t.Context(), k.Sign(t, header, iss.Claims(audience, c.Now(), nil))); err != nil {
			t.Errorf("typ %v: %v", typ, err)
		}
	}
	cfg := config(iss)
	cfg.Types = []string{"at+jwt"}
	strict := open(t, c, cfg)
	token := k.Sign(t, map[string]any{"alg": k.Alg, "kid": k.KID}, iss.Claims(audience, c.Now(), nil))
	_, err := strict.Verify(t.Context(), token)
	refused(t, err, identity.ReasonType, token)
}

func TestVerifyAlgorithms(t *testing.T) {
	iss, c := identitytest.New(t), newClock()
	v := open(t, c, config(iss))
	for _, alg := range []string{"RS256", "PS256", "ES256", "EdDSA"} {
		iss.AddKey(identitytest.NewKey(t, "key-"+alg, alg))
		c.Advance(time.Minute)
		if _, err := v.Verify(t.Context(), iss.Mint(iss.Claims(audience, c.Now(), nil))); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
	}
	cfg := config(iss)
	cfg.Algorithms = []string{"RS256"}
	only := open(t, c, cfg)
	token := iss.Mint(iss.Claims(audience, c.Now(), nil))
	_, err := only.Verify(t.Context(), token)
	refused(t, err, identity.ReasonAlgorithm, token)
}

func TestTwoIssuersKeepApart(t *testing.T) {
	one, two, c := identitytest.New(t), identitytest.New(t), newClock()
	a, b := config(one), config(two)
	b.Name, b.GroupPrefix = "two", "two:"
	v := open(t, c, a, b)
	id, err := v.Verify(t.Context(), two.Mint(two.Claims(audience, c.Now(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	if id.IssuerName != "two" || id.Subject.Groups[0] != "two:analysts" {
		t.Errorf("got %+v", id)
	}
	// One issuer's key under the other's name, with the kid that both use.
	token := one.Mint(two.Claims(audience, c.Now(), nil))
	_, err = v.Verify(t.Context(), token)
	refused(t, err, identity.ReasonBadSignature, token)
}

func TestClaimMapping(t *testing.T) {
	iss, c := identitytest.New(t), newClock()
	cfg := config(iss)
	cfg.Claims = identity.Claims{
		Groups:   []string{"realm_access.roles", "/https:~1~1acme.example~1groups", `kubernetes\.io.namespace`, "team"},
		Scopes:   []string{"/nested/scopes"},
		ClientID: []string{"absent", "azp"},
	}
	v := open(t, c, cfg)
	id, err := v.Verify(t.Context(), iss.Mint(iss.Claims(audience, c.Now(), map[string]any{
		"realm_access": map[string]any{"roles": []any{"admin", 7, ""}}, "https://acme.example/groups": []string{"eng"},
		"kubernetes.io": map[string]any{"namespace": "prod"}, "team": "blue", "azp": "app",
		"nested": map[string]any{"scopes": []string{"a b", "c"}},
	})))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(id.Subject.Groups, id.Subject.Scopes, id.Subject.ClientID); got != "[admin blue eng prod] [a b c]app" {
		t.Error(got)
	}
}

func TestIntrospection(t *testing.T) {
	iss, c := identitytest.New(t), newClock()
	cfg := config(iss)
	cfg.Introspection = &identity.Introspection{ClientID: "regate", ClientSecret: "s3cret", CacheFor: 10 * time.Second}
	v := open(t, c, cfg)
	token := iss.Mint(iss.Claims(audience, c.Now(), nil))
	for range 3 {
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Fatal(err)
		}
	}
	if n := iss.Introspections(); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
	iss.Deactivate(token)
	c.Advance(11 * time.Second)
	_, err := v.Verify(t.Context(), token)
	refused(t, err, identity.ReasonInactive, token)

	token = iss.Mint(iss.Claims(audience, c.Now(), nil))
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	iss.SetDown(true)
	c.Advance(11 * time.Second)
	_, err = v.Verify(t.Context(), token)
	refused(t, err, identity.ReasonIntrospection, token)
	iss.SetDown(false)

	// A redirect would carry the token elsewhere.
	var taken atomic.Int64
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		taken.Add(1)
		_, _ = w.Write([]byte(`{"active":true}`))
	}))
	defer thief.Close()
	odd := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, thief.URL, http.StatusTemporaryRedirect)
		case "/text":
			_, _ = w.Write([]byte("active"))
		case "/nothing":
			_, _ = w.Write([]byte(`{}`))
		case "/string":
			_, _ = w.Write([]byte(`{"active":"true"}`))
		}
	}))
	defer odd.Close()
	for _, path := range []string{"/redirect", "/text", "/nothing", "/string"} {
		cfg.Introspection = &identity.Introspection{URL: odd.URL + path, ClientID: "regate", ClientSecret: "s3cret"}
		_, err = open(t, c, cfg).Verify(t.Context(), token)
		refused(t, err, identity.ReasonIntrospection, token)
	}
	if taken.Load() != 0 {
		t.Error("the token was sent on to another address")
	}

	cfg.Introspection = &identity.Introspection{ClientID: "regate", ClientSecret: "wrong"}
	denied := open(t, c, cfg)
	_, err = denied.Verify(t.Context(), token)
	refused(t, err, identity.ReasonIntrospection, token)
}

func TestVerifyConcurrently(t *testing.T) {
	iss, c := identitytest.New(t), newClock()
	v := open(t, c, config(iss))
	token := iss.Mint(iss.Claims(audience, c.Now(), nil))
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := v.Verify(t.Context(), token); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := iss.KeyFetches(); n > 2 {
		t.Errorf("%d fetches of keys for one burst", n)
	}
}

func TestVerifyStopsWaitingWithTheCaller(t *testing.T) {
	block := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-block:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(block)
	iss, c := identitytest.New(t), newClock()
	cfg := config(iss)
	cfg.URL = server.URL
	v := open(t, c, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	token := iss.Mint(iss.Claims(audience, c.Now(), map[string]any{"iss": server.URL}))
	_, err := v.Verify(ctx, token)
	refused(t, err, identity.ReasonIssuerUnavailable, token)
}

func TestVerifyAllocates(t *testing.T) {
	iss, c := identitytest.New(t), newClock()
	v := open(t, c, config(iss))
	token := iss.Mint(iss.Claims(audience, c.Now(), nil))
	ctx := t.Context()
	if _, err := v.Verify(ctx, token); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := v.Verify(ctx, token); err != nil {
			t.Fatal(err)
		}
	}); n > 1 {
		t.Errorf("a remembered token costs %v allocations, want at most 1", n)
	}
}

func BenchmarkVerify(b *testing.B) {
	iss, c := identitytest.New(b), newClock()
	iss.AddKey(identitytest.NewKey(b, "rsa", "RS256"))
	token := iss.Mint(iss.Claims(audience, c.Now(), nil))
	for name, size := range map[string]int{"remembered": 0, "anew": -1} {
		b.Run(name, func(b *testing.B) {
			v, err := identity.New(b.Context(), identity.Config{Issuers: []identity.Issuer{config(iss)}, Clock: c.Now, CacheSize: size})
			if err != nil {
				b.Fatal(err)
			}
			defer v.Close()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
