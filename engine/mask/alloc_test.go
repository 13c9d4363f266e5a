//go:build !race

// The race detector makes sync.Pool forget at random, to find misuse.

package mask

import "testing"

func TestAllocations(t *testing.T) {
	k, d := testKeyring(t), all(t)
	clean := cleanJSON(64 << 10)
	var list []Finding
	check := func(name string, fn func()) {
		t.Helper()
		fn()
		if n := testing.AllocsPerRun(20, fn); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	check("scan of clean text", func() { list = d.Scan(clean, list[:0]) })
	candidates := []byte(`{"api_key":"short","id":"4111111111111112","mail":"a@b","x":"+0 1","y":"４１１"}`)
	check("scan of candidates", func() { list = d.Scan(candidates, list[:0]) })
	dirty := []byte("alice@example.com paid with 4111 1111 1111 1111, +49 30 1234567, 536-90-4399, GB82WEST12345698765432")
	dst := make([]byte, 0, 4096)
	for _, m := range []string{Null, Redact, Hash, Tokenise, Partial} {
		spec := Spec{Method: m}
		check("text by "+m, func() { dst, _ = k.Text(dst[:0], dirty, d, func(string) Spec { return spec }) })
		check("field by "+m, func() { dst, _ = k.Field(dst[:0], dirty[:17], spec, "public.users.email") })
	}
}
