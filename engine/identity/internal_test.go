package identity

import (
	"crypto/rsa"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"
)

// FuzzKeys: no document of an issuer makes parseKeys panic, and what it accepts
// can verify.
func FuzzKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","kid":"a","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},{"kty":"oct","k":"AA"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"","e":"","x5c":["AA=="]}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		snap, _, err := parseKeys(raw, keyFilter{uses: []string{"", "sig"}})
		if err != nil {
			return
		}
		for _, k := range snap.keys {
			if family(k.pub) == "" {
				t.Fatalf("accepted %T", k.pub)
			}
			if pub, ok := k.pub.(*rsa.PublicKey); ok && pub.N.BitLen() < minRSABits {
				t.Fatalf("accepted %d bits", pub.N.BitLen())
			}
		}
	})
}

// FuzzCheckJSON: what is accepted reads the same to a parser that takes the
// first of two members and to one that takes the last, so encoding it again
// loses nothing.
func FuzzCheckJSON(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1,"a":2}`, `{"a":{"b":1,"b":2}}`, `[{}]`, `{"a":[1,{"b":2}]}`, `{"a":"b"}x`, `{"SUB":1}`, `{"a":1}{}`, "{\"\xff\":1}", `{"a":nul}`, `{"a" 1}`, `{,}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if checkJSON([]byte(s)) != nil {
			return
		}
		var v map[string]json.RawMessage
		if err := json.Unmarshal([]byte(s), &v); err != nil {
			t.Fatalf("accepted %q: %v", s, err)
		}
		members := 0
		dec := json.NewDecoder(strings.NewReader(s))
		if _, err := dec.Token(); err != nil {
			t.Fatal(err)
		}
		for dec.More() {
			if _, err := dec.Token(); err != nil {
				t.Fatal(err)
			}
			var skip json.RawMessage
			if err := dec.Decode(&skip); err != nil {
				t.Fatal(err)
			}
			members++
		}
		if members != len(v) {
			t.Fatalf("%q has %d members and becomes %d", s, members, len(v))
		}
	})
}

func TestPatterns(t *testing.T) {
	for _, tc := range []struct {
		pattern, value string
		want           bool
	}{
		{"acme", "acme", true}, {"acme", "acme2", false}, {"acme", "", false}, {"", "", true}, {"", "x", false},
		{"*", "", true}, {"*", "any/thing:x", true}, {"a*", "a", true}, {"a*", "ba", false}, {"*a", "ba", true}, {"*a", "ab", false},
		{"a*b", "ab", true}, {"a*b", "a", false}, {"a*a", "a", false}, {"a*b*c", "a-b-c", true}, {"a*b*c", "acb", false},
		{"**", "x", true}, {`a\*`, "a*", true}, {`a\*`, "ab", false}, {`\\*`, `\x`, true}, {"ab*ab", "ab", false}, {"ab*ab", "abab", true},
	} {
		p, err := parsePattern(tc.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.match(tc.value); got != tc.want {
			t.Errorf("%q on %q: %v", tc.pattern, tc.value, got)
		}
	}
}

// FuzzPattern compares with the regular expression that the pattern means.
func FuzzPattern(f *testing.F) {
	f.Add("a*b", "aXb")
	f.Add(`*\**`, "x*y")
	f.Add("ab*ab*", "abab")
	f.Fuzz(func(t *testing.T, pattern, value string) {
		if strings.ContainsRune(pattern, '\\') || len(pattern) > 50 || !json.Valid([]byte(`"`+pattern+`"`)) {
			return
		}
		p, err := parsePattern(pattern)
		if err != nil {
			t.Fatal(err)
		}
		re, err := regexp.Compile(`(?s)\A` + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`) + `\z`)
		if err != nil {
			return // not UTF-8
		}
		if got, want := p.match(value), re.MatchString(value); got != want && strings.ToValidUTF8(value, "") == value {
			t.Fatalf("%q on %q: %v", pattern, value, got)
		}
	})
}

func TestPaths(t *testing.T) {
	claims := map[string]any{
		"a": map[string]any{"b": "ab", "": "empty"}, "a.b": "dotted", "x/y": map[string]any{"~": "slash"}, `\`: "back", "l": []any{"x"},
	}
	for path, want := range map[string]any{
		"a.b": "ab", `a\.b`: "dotted", "/a/b": "ab", "/a.b": "dotted", "/x~1y/~0": "slash", "/a/": "empty", `\\`: "back",
		"a.c": nil, "l.0": nil, "a.b.c": nil, "none": nil,
	} {
		p, err := parsePath(path)
		if err != nil {
			t.Errorf("%q: %v", path, err)
			continue
		}
		if got := p.in(claims); got != want {
			t.Errorf("%q: %v, want %v", path, got, want)
		}
	}
	for _, path := range []string{"", ".", "a.", ".a", "a..b", `a\`, "/~", "/a~2"} {
		if _, err := parsePath(path); err == nil {
			t.Errorf("%q is accepted", path)
		}
	}
}

func TestEveryReasonHasAText(t *testing.T) {
	for reason, text := range texts {
		if !strings.HasPrefix(reason, "identity/") || text.message == "" || text.hint == "" {
			t.Errorf("%s: %+v", reason, text)
		}
		if err := Refusal(reason, nil); err.Reason != reason || !err.Is(&Error{Reason: reason}) {
			t.Errorf("%s becomes %v", reason, err)
		}
	}
	if got := Refusal("identity/made-up", nil).Reason; got != ReasonMalformed {
		t.Errorf("an unknown reason becomes %s", got)
	}
}

func TestValidity(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	for name, tc := range map[string]struct {
		v      validity
		now    time.Time
		skew   time.Duration
		maxAge time.Duration
		want   string
	}{
		"the last moment":         {validity{expires: at(100)}, at(99), 0, 0, ""},
		"the moment of exp":       {validity{expires: at(100)}, at(100), 0, 0, ReasonExpired},
		"exp within skew":         {validity{expires: at(100)}, at(104), 5 * time.Second, 0, ""},
		"exp at skew":             {validity{expires: at(100)}, at(105), 5 * time.Second, 0, ReasonExpired},
		"nbf now":                 {validity{expires: at(100), notBefore: at(50)}, at(50), 0, 0, ""},
		"nbf ahead":               {validity{expires: at(100), notBefore: at(51)}, at(50), 0, 0, ReasonNotYetValid},
		"nbf within skew":         {validity{expires: at(100), notBefore: at(55)}, at(50), 5 * time.Second, 0, ""},
		"iat ahead":               {validity{expires: at(100), issuedAt: at(60)}, at(50), 5 * time.Second, 0, ReasonNotYetValid},
		"age at its bound":        {validity{expires: at(900), issuedAt: at(100)}, at(160), 0, time.Minute, ""},
		"age past its bound":      {validity{expires: at(900), issuedAt: at(100)}, at(161), 0, time.Minute, ReasonTooOld},
		"age asked and no iat":    {validity{expires: at(900)}, at(161), 0, time.Minute, ReasonMissingClaim},
		"iat at the zero of time": {validity{expires: at(900), issuedAt: at(0)}, at(161), 0, time.Minute, ReasonTooOld},
	} {
		err := tc.v.check(tc.now, tc.skew, tc.maxAge)
		if tc.want == "" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if tc.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tc.want+":")) {
			t.Errorf("%s: %v, want %s", name, err, tc.want)
		}
	}
}
