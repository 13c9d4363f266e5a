package message

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"testing"
)

// A message that is read keeps its bytes, is of one kind, and can be a part of
// a document; read again it is the same.
func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"b":[1,2.5,null]}}}`))
	f.Add([]byte(`[{"jsonrpc":"2.0","method":"notifications/cancelled"},{"jsonrpc":"2.0","id":"x","result":{}}]`))
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///a/%2e%2e/b"}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		list, batch, err := Parse(raw)
		var refusal *Refusal
		if err != nil {
			if !errors.As(err, &refusal) || refusal.Reason == "" || refusal.Code == 0 {
				t.Fatalf("%v", err)
			}
			return
		}
		if !batch && !bytes.Equal(list[0].Raw, bytes.TrimSpace(raw)) {
			t.Fatalf("%q became %q", raw, list[0].Raw)
		}
		for _, m := range list {
			if !bytes.Contains(raw, m.Raw) || !json.Valid(m.Raw) {
				t.Fatalf("%q is not in %q", m.Raw, raw)
			}
			again, _, err := Parse(m.Raw)
			if err != nil || again[0].Kind != m.Kind || again[0].ID != m.ID || again[0].Method != m.Method {
				t.Fatalf("%q: %v", m.Raw, err)
			}
			d, err := Decode(m, Context{Server: "s", Transport: "http"})
			if err != nil {
				if !errors.As(err, &refusal) {
					t.Fatal(err)
				}
				continue
			}
			_ = CheckHeaders(http.Header{}, m, d)
			p := d.Parts()
			if !json.Valid(p.Action.JSON()) || !json.Valid(p.Resource.JSON()) || !json.Valid(p.Detail.JSON()) {
				t.Fatal("a part is no JSON")
			}
		}
	})
}

// A tool's digest does not depend on how its definition is written.
func FuzzTool(f *testing.F) {
	f.Add([]byte(`{"name":"a","inputSchema":{"type":"object"},"x":[1.0,"\u0041"]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		one, err := ReadTool(raw)
		if err != nil {
			return
		}
		two, err := ReadTool(one.Canonical)
		if err != nil || one.Digest != two.Digest || len(Changed(one.Value, two.Value, 5)) > 0 {
			t.Errorf("%q: %v", raw, err)
		}
	})
}
