package identity_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/engine/identity/identitytest"
)

// FuzzVerify: no token makes Verify panic, every refusal is an *Error, and
// nothing passes whose header and claims were not signed by the issuer.
func FuzzVerify(f *testing.F) {
	iss, c := identitytest.New(f), newClock()
	cfg := config(iss)
	v, err := identity.New(f.Context(), identity.Config{Issuers: []identity.Issuer{cfg}, Clock: c.Now, CacheSize: -1})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(v.Close)
	k := iss.Key()
	header := map[string]any{"alg": "ES256", "typ": "at+jwt", "kid": "k1"}
	genuine := k.Sign(f, header, iss.Claims(audience, c.Now(), map[string]any{
		"act": map[string]any{"sub": "bot", "act": map[string]any{"sub": "deeper"}}, "exp": c.Now().Add(time.Hour).Unix(),
	}))
	signed := genuine[:strings.LastIndexByte(genuine, '.')]
	parts := strings.Split(genuine, ".")
	for _, token := range []string{
		genuine, "", ".", "..", "a.b.c", genuine + ".", parts[0] + "." + parts[1] + ".", "{}", parts[1] + "." + parts[0] + "." + parts[2],
		identitytest.Encode(f, []byte(`{"alg":"none"}`)) + "." + parts[1] + ".",
		identitytest.Encode(f, []byte(`{"alg":"ES256","jwk":{"kty":"EC","crv":"P-256","x":"","y":""}}`)) + "." + parts[1] + "." + parts[2],
		identitytest.Encode(f, []byte(`{"alg":"ES256","x5c":["AA=="]}`)) + "." + parts[1] + "." + parts[2],
		parts[0] + "." + identitytest.Encode(f, []byte(`{"iss":"`+iss.URL+`","_claim_names":{"a":"b"}}`)) + "." + parts[2],
		parts[0] + "." + identitytest.Encode(f, []byte(`{"iss":"`+iss.URL+`","exp":1e400}`)) + "." + parts[2],
	} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		id, err := v.Verify(t.Context(), token)
		if err == nil {
			if id == nil || !strings.HasPrefix(token, signed+".") {
				t.Fatalf("passed: %q", token)
			}
			return
		}
		var refusal *identity.Error
		if id != nil || !errors.As(err, &refusal) || refusal.Message == "" || refusal.Hint == "" {
			t.Fatalf("got %v and %v", id, err)
		}
	})
}

// FuzzVerifySigned signs any header and claims with the issuer's own key: what
// passes must have every claim that is needed, and become an input document.
func FuzzVerifySigned(f *testing.F) {
	iss, c := identitytest.New(f), newClock()
	cfg := config(iss)
	cfg.Claims.Groups = []string{"groups", "a.b"}
	v, err := identity.New(f.Context(), identity.Config{Issuers: []identity.Issuer{cfg}, Clock: c.Now, CacheSize: -1})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(v.Close)
	k := iss.Key()
	good, err := json.Marshal(iss.Claims(audience, c.Now(), map[string]any{"a": map[string]any{"b": []any{"x", 1, nil}}, "act": map[string]any{"sub": "bot"}}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(`{"alg":"ES256","typ":"at+jwt","kid":"k1"}`, string(good))
	f.Add(`{"alg":"ES256"}`, strings.Replace(string(good), `"sub"`, `"sub2"`, 1))
	f.Add(`{"alg":"ES256","kid":"k1","crit":["b64"],"b64":false}`, string(good))
	f.Add(`{"alg":"ES256","kid":"k1"}`, strings.Replace(string(good), `"exp":1`, `"exp":-1`, 1))
	f.Fuzz(func(t *testing.T, header, claims string) {
		token := k.SignRaw(t, identitytest.Encode(t, []byte(header)), identitytest.Encode(t, []byte(claims)))
		id, err := v.Verify(t.Context(), token)
		if err != nil {
			var refusal *identity.Error
			if id != nil || !errors.As(err, &refusal) {
				t.Fatalf("got %v and %v", id, err)
			}
			return
		}
		var m map[string]any
		if err := json.Unmarshal([]byte(claims), &m); err != nil {
			t.Fatalf("claims that are no JSON passed: %q", claims)
		}
		if m["sub"] != id.Subject.ID || id.Subject.ID == "" || m["iss"] != id.Subject.Issuer || id.TokenID == "" || id.ExpiresAt.Before(c.Now().Add(-time.Minute)) {
			t.Fatalf("%q became %+v", claims, id)
		}
		if _, has := m["act"]; has != (id.Actor != nil) {
			t.Fatalf("%q has the actor %+v", claims, id.Actor)
		}
		document(t, id)
	})
}
