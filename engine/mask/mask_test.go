package mask

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

func testKeyring(t testing.TB) *Keyring {
	t.Helper()
	k, err := NewKeyring([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestField(t *testing.T) {
	k := testKeyring(t)
	for _, tc := range []struct {
		value string
		spec  Spec
		want  string
	}{
		{"secret", Spec{}, "[REDACTED]"},
		{"secret", Spec{Method: "nonsense", Keep: 4}, "[REDACTED]"},
		{"secret", Spec{Method: Redact}, "[REDACTED]"},
		{"", Spec{Method: Redact}, "[REDACTED]"},
		{"alice@example.com", Spec{Method: Partial}, "a***@example.com"},
		{"alice@example.com", Spec{Method: Partial, KeepDomain: true}, "a***@example.com"},
		{"alice@example.com", Spec{Method: Partial, KeepDomain: true, Keep: 2}, "***ce@example.com"},
		{"alice@example.com", Spec{Method: Partial, Keep: 4}, "***.com"},
		{"a@example.com", Spec{Method: Partial}, "***@example.com"},
		{"not an address", Spec{Method: Partial}, "***"},
		{"not an address", Spec{Method: Partial, KeepDomain: true}, "***"},
		{"4111111111111111", Spec{Method: Partial, Keep: 4}, "***1111"},
		{"4111111111111111", Spec{Method: Partial, Keep: 4, KeepFirst: 4}, "4111***1111"},
		{"4111111111111111", Spec{Method: Partial, Keep: 12}, "***"},
		{"12345", Spec{Method: Partial, Keep: 4}, "***"},
		{"1234", Spec{Method: Partial, Keep: 4}, "***"},
		{"", Spec{Method: Partial, Keep: 4}, "***"},
		{"Zoë Müller", Spec{Method: Partial, KeepFirst: 3}, "Zoë***"},
		{"日本語テキスト", Spec{Method: Partial, Keep: 2}, "***スト"},
		{"secret", Spec{Method: Partial, Keep: -1, KeepFirst: 1}, "s***"},
		{"secret", Spec{Method: Partial, Keep: 1 << 62, KeepFirst: 1 << 62}, "***"},
	} {
		out, null := k.Field([]byte("x"), []byte(tc.value), tc.spec, "public.users.f")
		if string(out) != "x"+tc.want || null {
			t.Errorf("%q by %+v: %q, null %v, want %q", tc.value, tc.spec, out, null, "x"+tc.want)
		}
	}
	if out, null := k.Field([]byte("x"), []byte("secret"), Spec{Method: Null}, "f"); string(out) != "x" || !null {
		t.Errorf("null: %q, %v", out, null)
	}
}

func TestHashAndToken(t *testing.T) {
	k, again := testKeyring(t), testKeyring(t)
	other, err := NewKeyring(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	hash := func(k *Keyring, value, field string) string {
		out, _ := k.Field(nil, []byte(value), Spec{Method: Hash}, field)
		return string(out)
	}
	token := func(k *Keyring, value, field string) string {
		out, _ := k.Field(nil, []byte(value), Spec{Method: Tokenise}, field)
		return string(out)
	}
	h, tok := hash(k, "alice", "a.b.c"), token(k, "alice", "a.b.c")
	if len(h) != 2+tagChars || !strings.HasPrefix(h, "h:") || len(tok) != 4+tagChars || !strings.HasPrefix(tok, "tok_") {
		t.Errorf("shapes: %q %q", h, tok)
	}
	if h != hash(again, "alice", "a.b.c") || tok != token(again, "alice", "x") {
		t.Error("equal keys and values differ")
	}
	if h == hash(k, "alice", "a.b.d") {
		t.Error("hashes of two fields are equal")
	}
	if h == hash(other, "alice", "a.b.c") || tok == token(other, "alice", "a.b.c") {
		t.Error("two keys give one tag")
	}
	if h == hash(k, "bob", "a.b.c") || tok == token(k, "bob", "a.b.c") || h[2:] == tok[4:] {
		t.Error("tags collide")
	}
	// The border between field and value is part of what is hashed.
	if hash(k, "bc", "a") == hash(k, "c", "ab") {
		t.Error("field and value run into each other")
	}
	if _, err := NewKeyring(make([]byte, 31)); err == nil {
		t.Error("a short key is taken")
	}
}

func TestText(t *testing.T) {
	k, d := testKeyring(t), all(t)
	with := func(text string, methods map[string]Spec) string {
		out, changed := k.Text([]byte(">"), []byte(text), d, func(kind string) Spec { return methods[kind] })
		if changed != (string(out) != ">"+text) {
			t.Errorf("%q: changed %v but %q", text, changed, out)
		}
		return string(out[1:])
	}
	for _, tc := range []struct {
		text    string
		methods map[string]Spec
		want    string
	}{
		{"nothing here", nil, "nothing here"},
		{"mail alice@example.com or bob@example.com", nil, "mail [REDACTED:email] or [REDACTED:email]"},
		{"pay 4111 1111 1111 1111 now", map[string]Spec{KindCard: {Method: Partial}}, "pay ***1111 now"},
		{"call +49 30 1234567", map[string]Spec{KindPhone: {Method: Partial}}, "call ***67"},
		{"mail alice@example.com", map[string]Spec{KindEmail: {Method: Partial}}, "mail a***@example.com"},
		{"mail alice@example.com.", map[string]Spec{KindEmail: {Method: Null}}, "mail ."},
		{testPEM, nil, "[REDACTED:private_key]"},
		// A phone number within an address: the stronger method wins.
		{"mail 415-555-2671@example.com", map[string]Spec{KindEmail: {Method: Partial}, KindPhone: {Method: Null}}, "mail "},
	} {
		if got := with(tc.text, tc.methods); got != tc.want {
			t.Errorf("%q\n got %q\nwant %q", tc.text, got, tc.want)
		}
	}
}

func TestJoin(t *testing.T) {
	specs := []Spec{
		{}, {Method: Null}, {Method: Redact}, {Method: Hash}, {Method: Tokenise},
		{Method: Partial}, {Method: Partial, Keep: 4}, {Method: "?"},
	}
	for _, a := range specs {
		if Join(a, a) != a {
			t.Errorf("not idempotent: %+v", a)
		}
		for _, b := range specs {
			if x, y := Join(a, b), Join(b, a); x.strength() != y.strength() {
				t.Errorf("%+v, %+v: %+v or %+v", a, b, x, y)
			}
			if Join(a, b).strength() < max(a.strength(), b.strength()) {
				t.Errorf("%+v, %+v: weaker than either", a, b)
			}
		}
	}
	if got := Join(Spec{Method: Partial, Keep: 2}, Spec{Method: Partial, Keep: 4}); got.Method != Redact {
		t.Errorf("two partials give %+v", got)
	}
}

func TestUnknownKind(t *testing.T) {
	if _, err := NewDetector([]string{"credit_card", "unicorn"}); err == nil {
		t.Error("an unknown kind is taken")
	}
	if d, err := NewDetector(nil); err != nil || found(d, testPEM+testJWT) != "" {
		t.Error("no kinds find something")
	}
}

// secrets are values that must not survive masking, by kind.
func secrets() map[string][]string {
	return map[string][]string{
		KindCard:       {"4111111111111111", "5555 5555 5555 4444", "3782-822463-10005"},
		KindEmail:      {"alice.smith@example.com", "jürgen@müller.de"},
		KindPhone:      {"+4930123456789", "(415) 555-2671"},
		KindIBAN:       {"GB82WEST12345698765432", "DE89 3704 0044 0532 0130 00"},
		KindSSN:        {"536-90-4399"},
		KindAPIKey:     {testGitHub, testAWS, testStripe},
		KindPrivateKey: {testPEM},
		KindJWT:        {testJWT, testJWE},
	}
}

func TestMaskedTextNeverHoldsTheSecret(t *testing.T) {
	k, d := testKeyring(t), all(t)
	values := secrets()
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom(Kinds()).Draw(t, "kind")
		secret := rapid.SampledFrom(values[kind]).Draw(t, "secret")
		// Words beside it are apart from it, as text is.
		around := rapid.StringMatching(`(\PL{0,8}[ ,;"'(]|[a-z ]{0,12}[ ,:])?`)
		before, after := around.Draw(t, "before"), rapid.StringMatching(`([ ,;"')][a-zé日 ]{0,12})?`).Draw(t, "after")
		before = strings.Map(func(r rune) rune {
			if n := fold(r); isAlnum(n) || isSeparator(n) && r != ' ' || n == '+' || n == '@' || n == '_' || n == '%' || n == skipped {
				return ' '
			}
			return r
		}, before)
		spec := Spec{
			Method:     rapid.SampledFrom([]string{"", Null, Redact, Hash, Tokenise, Partial}).Draw(t, "method"),
			Keep:       rapid.IntRange(0, 30).Draw(t, "keep"),
			KeepFirst:  rapid.IntRange(0, 30).Draw(t, "first"),
			KeepDomain: rapid.Bool().Draw(t, "domain"),
		}
		text := before + secret + after
		out, changed := k.Text(nil, []byte(text), d, func(string) Spec { return spec })
		if !changed || strings.Contains(string(out), secret) {
			t.Fatalf("%q by %+v: %q", text, spec, out)
		}
		masked, null := k.Field(nil, []byte(secret), spec, "f")
		if !null && strings.Contains(string(masked), secret) {
			t.Fatalf("%q by %+v: %q", secret, spec, masked)
		}
	})
}

func TestPartialShowsAtMostHalf(t *testing.T) {
	k := testKeyring(t)
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.String().Draw(t, "value")
		spec := Spec{Method: Partial, Keep: rapid.IntRange(-2, 40).Draw(t, "keep"), KeepFirst: rapid.IntRange(-2, 40).Draw(t, "first")}
		if spec.Keep <= 0 && spec.KeepFirst <= 0 {
			spec.Keep = 1
		}
		out, _ := k.Field(nil, []byte(value), spec, "f")
		head, tail, ok := strings.Cut(string(out), hidden)
		if n := len([]rune(head)) + len([]rune(tail)); !ok || 2*n > len([]rune(value))+len([]rune(hidden)) && 2*n > len([]rune(value)) {
			t.Fatalf("%q by %+v: %q", value, spec, out)
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	k, d := testKeyring(t), all(t)
	text := []byte("alice@example.com paid with 4111 1111 1111 1111, key " + testGitHub)
	method := func(string) Spec { return Spec{Method: Hash} }
	want, _ := k.Text(nil, text, d, method)
	var wg sync.WaitGroup
	errs := make(chan error, 8)
	for range 8 {
		wg.Go(func() {
			for range 200 {
				if got, _ := k.Text(nil, text, d, method); !bytes.Equal(got, want) {
					errs <- fmt.Errorf("got %q", got)
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
}
