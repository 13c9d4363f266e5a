package mask

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// streamText holds every kind, with enough between them that parts of it are
// released while others are held.
func streamText() []byte {
	pad := func(n int) string { return strings.Repeat("lorem ipsum dolor 12 sit-amet, ", n) }
	return []byte("alice@example.com " + pad(8) + "4111 1111 1111 1111 " + pad(3) + testPEM + pad(3) +
		strings.ReplaceAll(testPEM, "\n", `\n`) + pad(6) + "+49 30 1234567 " + testJWT + " " + pad(5) +
		`{"token":"` + testGitHub + `"} GB82WEST12345698765432 ` + pad(16) + "536-90-4399 ４１１１１１１１１１１１１１１１ " +
		pad(2) + "-----BEGIN " + "PRIVATE KEY-----\nMIIEcutoff")
}

func TestStreamSplitAnywhere(t *testing.T) {
	k, text := testKeyring(t), streamText()
	method := func(kind string) Spec { return Spec{Method: Redact} }
	for i, set := range [][]string{Kinds(), {KindCard, KindPhone, KindIBAN, KindSSN, KindJWT, KindAPIKey, KindPrivateKey}, {KindPrivateKey}, {KindAPIKey}, nil} {
		d, err := NewDetector(set)
		if err != nil {
			t.Fatal(err)
		}
		want, changed := k.Text(nil, text, d, method)
		check := func(name string, cuts ...int) {
			t.Helper()
			s := k.NewStream(d, method)
			var got []byte
			from := 0
			for _, cut := range append(cuts, len(text)) {
				got = s.Write(got, text[from:cut])
				// A small reach releases early, so that the borders are tried.
				got = s.release(got, len(s.buf)-min(len(s.buf), s.detect.reach))
				from = cut
			}
			got = s.Flush(got)
			if string(got) != string(want) || s.Changed() != changed {
				t.Fatalf("%v %s at %v:\n got %q\nwant %q", set, name, cuts, got, want)
			}
		}
		for cut := 0; cut < len(text); cut += 1 + i*10 { // every cut for all kinds
			check("split", cut)
		}
		var every []int
		for at := range text {
			every = append(every, at)
		}
		if i < 1 {
			check("bytes", every...)
		}
		rnd := rand.New(rand.NewPCG(3, 4))
		for range 20 {
			var cuts []int
			for at := 0; at < len(text); at += 1 + rnd.IntN(700) {
				cuts = append(cuts, at)
			}
			check("random", cuts...)
		}
	}
}

// Long text makes the stream drop what it released: the findings at its
// borders must not change.
func TestStreamLong(t *testing.T) {
	k, d := testKeyring(t), all(t)
	method := func(string) Spec { return Spec{Method: Tokenise} }
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 3 {
		text := records(200<<10, 3)
		text = append(text, streamText()...)
		text = append(text, records(100<<10, 1)...)
		want, _ := k.Text(nil, text, d, method)
		s := k.NewStream(d, method)
		var got []byte
		for i := 0; i < len(text); {
			n := min(len(text)-i, 1+rnd.IntN(5000))
			got = s.Write(got, text[i:i+n])
			i += n
			if len(s.buf) > 256<<10 {
				t.Fatalf("the stream holds %d bytes", len(s.buf))
			}
		}
		got = s.Flush(got)
		if string(got) != string(want) {
			i := 0
			for i < len(got) && i < len(want) && got[i] == want[i] {
				i++
			}
			t.Fatalf("differs at %d: %q, want %q", i, got[i:min(len(got), i+200)], want[i:min(len(want), i+200)])
		}
	}
}

// Findings that are longer than what a stream holds back of itself.
func TestStreamLongFindings(t *testing.T) {
	k := testKeyring(t)
	d, err := NewDetector([]string{KindJWT, KindAPIKey, KindPrivateKey, KindCard})
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(7, 8))
	chars := func(n int, alphabet string) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = alphabet[rnd.IntN(len(alphabet))]
		}
		return string(b)
	}
	const base62 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	pad := strings.Repeat("lorem ipsum ", 60)
	head, rest, _ := strings.Cut(testJWT, ".")
	_, signature, _ := strings.Cut(rest, ".")
	text := []byte(pad + head + ".eyJ" + chars(3000, base62) + "." + signature + " " + pad +
		"-----BEGIN " + "PRIVATE KEY-----\n" + chars(3000, base62) + "\n-----END PRIVATE KEY-----" + pad +
		"fm2_" + chars(1500, base62) + " " + pad + " password: " + chars(700, base62) + " " + pad)
	method := func(string) Spec { return Spec{Method: Redact} }
	want, _ := k.Text(nil, text, d, method)
	if n := strings.Count(string(want), "[REDACTED"); n != 4 {
		t.Fatalf("%d findings: %q", n, want)
	}
	for cut := 0; cut < len(text); cut += 61 {
		s := k.NewStream(d, method)
		got := s.Write(nil, text[:cut])
		got = s.release(got, max(0, len(s.buf)-s.detect.reach))
		got = s.Flush(s.Write(got, text[cut:]))
		if string(got) != string(want) {
			t.Fatalf("split at %d:\n got %q\nwant %q", cut, got, want)
		}
	}
}
