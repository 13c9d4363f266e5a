package mask

import (
	"bytes"
	"testing"
)

// FuzzText checks, for any bytes: findings are sorted, apart and within the
// text; a stream gives what the whole text gives; what is redacted is gone
// from where it was and the rest of the text is untouched.
func FuzzText(f *testing.F) {
	for _, list := range secrets() {
		for _, s := range list {
			f.Add([]byte("x "+s+" y"), uint16(3))
		}
	}
	f.Add([]byte("４１１１ 1111‑1111 1111 \xff\xef\xbc@a.b \\u00e94111111111111111 +1(2)3"), uint16(9))
	f.Add([]byte(`{"api_key":"\"x","token" : 'abc`), uint16(1))
	f.Add([]byte("-----BEGIN "+"PRIVATE KEY-----BEGIN PRIVATE KEY-----END PRIVATE KEY--"), uint16(40))
	k, d := testKeyring(f), all(f)
	method := func(string) Spec { return Spec{} }
	f.Fuzz(func(t *testing.T, text []byte, split uint16) {
		list := d.Scan(text, nil)
		end, rest := 0, text
		var want []byte
		for _, x := range list {
			if x.Start < end || x.End <= x.Start || x.End > len(text) || rank(x.Kind) < 0 {
				t.Fatalf("%+v in %q", list, text)
			}
			want = append(want, text[end:x.Start]...)
			want = append(want, "[REDACTED:"+x.Kind+"]"...)
			end, rest = x.End, text[x.End:]
		}
		want = append(want, rest...)
		whole, changed := k.Text(nil, text, d, method)
		if !bytes.Equal(whole, want) || changed != (len(list) > 0) {
			t.Fatalf("text %q, want %q", whole, want)
		}
		cut := int(split) % (len(text) + 1)
		s := k.NewStream(d, method)
		got := s.Write(nil, text[:cut])
		got = s.release(got, max(0, len(s.buf)-d.reach))
		if got = s.Flush(s.Write(got, text[cut:])); !bytes.Equal(got, want) {
			t.Fatalf("stream split at %d %q, want %q", cut, got, want)
		}
		if again := d.Scan(text, nil); len(again) != len(list) {
			t.Fatal("two scans differ")
		}
	})
}
