package mask

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// records writes n bytes of JSON, one record after another; every dense-th
// record holds personal data (0: none).
func records(n, dense int) []byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	out := make([]byte, 0, n+1024)
	words := []string{"shipment", "delayed", "customer", "asked", "about", "the", "invoice", "and", "refund", "status", "warehouse", "priority"}
	for i := 0; len(out) < n; i++ {
		out = fmt.Appendf(out, `{"id":%d,"uuid":"%08x-%04x-4%03x-a%03x-%012x","created_at":"2026-%02d-%02dT%02d:%02d:%02d.%06dZ","score":%.12f,"active":true,"note":"`,
			i, rnd.Uint32(), rnd.IntN(65536), rnd.IntN(4096), rnd.IntN(4096), rnd.Uint64N(1<<48),
			1+rnd.IntN(12), 1+rnd.IntN(28), rnd.IntN(24), rnd.IntN(60), rnd.IntN(60), rnd.IntN(1e6), rnd.Float64())
		for range 4 + rnd.IntN(16) {
			out = append(out, words[rnd.IntN(len(words))]...)
			out = append(out, ' ')
		}
		out = fmt.Appendf(out, `","sha":"%016x%016x","amount":%d.%02d,"tags":["a","b"]`, rnd.Uint64(), rnd.Uint64(), rnd.IntN(10000), rnd.IntN(100))
		if dense > 0 && i%dense == 0 {
			out = fmt.Appendf(out, `,"email":"user%d@example.com","card":"4111 1111 1111 1111","phone":"+49 30 %07d","ssn":"536-90-4399"`, i, rnd.IntN(1e7))
		}
		out = append(out, "},\n"...)
	}
	return out[:n]
}

func cleanJSON(n int) []byte { return records(n, 0) }

func benchScan(b *testing.B, text []byte, kinds []string) {
	d, err := NewDetector(kinds)
	if err != nil {
		b.Fatal(err)
	}
	var list []Finding
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		list = d.Scan(text, list[:0])
	}
	b.ReportMetric(float64(len(list)), "findings")
}

func BenchmarkScan(b *testing.B) {
	for _, c := range []struct {
		name  string
		dense int
	}{{"clean", 0}, {"sparse", 20}, {"dense", 1}} {
		text := records(1<<20, c.dense)
		b.Run(c.name+"/all", func(b *testing.B) { benchScan(b, text, Kinds()) })
		b.Run(c.name+"/pii", func(b *testing.B) {
			benchScan(b, text, []string{KindCard, KindEmail, KindPhone, KindIBAN, KindSSN})
		})
		for _, kind := range Kinds() {
			b.Run(c.name+"/"+kind, func(b *testing.B) { benchScan(b, text, []string{kind}) })
		}
	}
}

func BenchmarkScanShortValue(b *testing.B) {
	benchScan(b, []byte("Jonathan Smith, 12 Acacia Avenue"), Kinds())
}

func BenchmarkField(b *testing.B) {
	k := testKeyring(b)
	value, dst := []byte("alice.smith@example.com"), make([]byte, 0, 256)
	for _, m := range []string{Redact, Hash, Tokenise, Partial} {
		b.Run(m, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				dst, _ = k.Field(dst[:0], value, Spec{Method: m}, "public.users.email")
			}
		})
	}
}

func BenchmarkText(b *testing.B) {
	k, d := testKeyring(b), all(b)
	text := records(1<<20, 1)
	var dst []byte
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		dst, _ = k.Text(dst[:0], text, d, func(string) Spec { return Spec{Method: Hash} })
	}
}
