package identity_test

import (
	"testing"

	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/engine/identity/identitytest"
	"github.com/regate-dev/regate/engine/input"
)

// document makes the input document's parts of an identity: they must marshal,
// and lists must not be null.
func document(t *testing.T, id *identity.Identity) {
	t.Helper()
	principals := []input.Principal{id.Subject}
	if id.Actor != nil {
		principals = append(principals, *id.Actor)
	}
	for _, p := range principals {
		if p.Groups == nil || p.Scopes == nil || p.Claims == nil {
			t.Fatalf("a list is null: %+v", p)
		}
		if len(input.NewPart(p).JSON()) == 0 {
			t.Fatal("no JSON")
		}
	}
}

func TestIdentityBecomesInput(t *testing.T) {
	iss, c := identitytest.New(t), newClock()
	v := open(t, c, config(iss))
	for _, change := range []map[string]any{
		nil,
		{"groups": nil, "scope": nil, "client_id": nil},
		{"act": map[string]any{"sub": "a"}},
		{"big": 1e21, "small": 5e-324, "text": "\u2028</script>\u0000", "nested": []any{map[string]any{}, []any{}, nil}},
	} {
		id, err := v.Verify(t.Context(), iss.Mint(iss.Claims(audience, c.Now(), change)))
		if err != nil {
			t.Fatal(err)
		}
		document(t, id)
	}
}
