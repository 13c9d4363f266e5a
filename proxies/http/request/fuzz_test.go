package request

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

// What is read is what the upstream sees: the decoded segments are those of the
// raw path, none climbs or is empty, and what is read can be a part of a
// document.
func FuzzRequest(f *testing.F) {
	f.Add([]byte("GET /a/%62?c=d&e HTTP/1.1\r\nHost: x\r\n\r\n"))
	f.Add([]byte("POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\r\n{\"query\":\"{a(b:1){c}}\"}"))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n\r\na=b"))
	f.Add([]byte("PUT / HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nv\r\n--b--\r\n"))
	f.Add([]byte("GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n"))
	decoder, err := NewDecoder(Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, forward := range []bool{false, true} {
			r, err := readWhole(decoder, raw, forward)
			var refusal *Refusal
			if errors.As(err, &refusal) {
				if refusal.Reason == "" || refusal.Status < 400 || refusal.Message == "" {
					t.Fatalf("%+v", refusal)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			path := strings.TrimSuffix(r.RawPath, "/")
			parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
			if path == "" {
				parts = nil
			}
			if len(parts) != len(r.Resource.Segments) {
				t.Fatalf("%q has the segments %q", r.RawPath, r.Resource.Segments)
			}
			for i, s := range r.Resource.Segments {
				decoded, err := url.PathUnescape(parts[i])
				if err != nil || decoded != s || s == "" || s == "." || s == ".." || strings.ContainsAny(s, "/\\;\x00") || !utf8.ValidString(s) {
					t.Fatalf("%q has the segment %q (%v)", r.RawPath, s, err)
				}
			}
			if strings.ToLower(r.Origin.Host) != r.Origin.Host || strings.HasSuffix(r.Origin.Host, ".") || r.Origin.Port < 1 || r.Origin.Port > 65535 {
				t.Fatalf("origin %+v", r.Origin)
			}
			again, err := ParseOrigin(r.Origin.Scheme, r.Origin.Authority())
			if err != nil || again != r.Origin {
				t.Fatalf("%+v is read again as %+v (%v)", r.Origin, again, err)
			}
			p := r.Parts()
			for _, part := range [][]byte{p.Action.JSON(), p.Resource.JSON(), p.Detail.JSON(), p.Unknown.JSON()} {
				if !json.Valid(part) {
					t.Fatalf("%s", part)
				}
			}
		}
	})
}

// A number is a number only where every reader reads the same.
func FuzzJSONNumbers(f *testing.F) {
	for _, s := range []string{"0", "-0", "1e3", "0.1", "1.10", "9007199254740993", "1e400", "123456789.123456789", "5e-324"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, inexact, err := ReadJSON([]byte(s), "x")
		if err != nil {
			return
		}
		n, isNumber := v.(json.Number)
		if !isNumber {
			if text, ok := v.(string); ok && !strings.HasPrefix(strings.TrimSpace(s), `"`) && (len(inexact) != 1 || text != strings.TrimSpace(s)) {
				t.Errorf("%q is %q, and unknown says %v", s, text, inexact)
			}
			return
		}
		if decimal(n.String()) != decimal(strings.TrimSpace(s)) {
			t.Errorf("%q is read as %s", s, n)
		}
	})
}

// CheckHead takes nothing whose lines another reader could split otherwise.
func FuzzHead(f *testing.F) {
	f.Add([]byte("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"))
	f.Fuzz(func(t *testing.T, head []byte) {
		framing, err := CheckHead(head)
		if err != nil {
			return
		}
		if framing.Chunked && framing.Length != 0 || framing.Length < 0 {
			t.Errorf("%+v", framing)
		}
		if n := bytes.Count(head, []byte("\n")); n != bytes.Count(head, []byte("\r\n")) || n != bytes.Count(head, []byte("\r")) {
			t.Errorf("%q has bare line ends", head)
		}
		lower := bytes.ToLower(head)
		if bytes.Contains(lower, []byte("\ntransfer-encoding:")) && bytes.Contains(lower, []byte("\ncontent-length:")) {
			t.Errorf("%q has two framings", head)
		}
	})
}
