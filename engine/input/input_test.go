package input

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestDocumentHasEveryKey(t *testing.T) {
	doc := &Document{Protocol: Postgres, Stage: StageRequest, Time: time.Unix(0, 0)}
	raw, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	for _, key := range strings.Fields("schema protocol stage time request subject actor asserted session target action resource complete unknown approvals enforcer sql parameters response usage") {
		if _, ok := got[key]; !ok {
			t.Errorf("key %q is missing", key)
		}
	}
	if len(got) != 20 {
		t.Errorf("%d keys, want 20: %s", len(got), raw)
	}
	if got["unknown"] == nil || got["parameters"] == nil || got["approvals"] == nil {
		t.Errorf("a list is null: %s", raw)
	}
}

func TestDigestCoversEveryPart(t *testing.T) {
	base := func() *Document {
		return &Document{Protocol: Postgres, Stage: StageRequest, Time: time.Unix(0, 0), Subject: NewPart(Principal{ID: "a"})}
	}
	one, two := base(), base()
	if one.Digest() != two.Digest() {
		t.Error("equal documents have different digests")
	}
	two.Parameters = NewPart([]Parameter{{Index: 1}})
	if one.Digest() == two.Digest() {
		t.Error("parameters are not in the digest")
	}
	three := base()
	three.Time = time.Unix(1, 0)
	if one.Digest() == three.Digest() {
		t.Error("time is not in the digest")
	}
}

func TestPartIsCanonical(t *testing.T) {
	got := string(NewPart(map[string]any{"b": 1, "a": "é<"}).JSON())
	if want := `{"a":"é<","b":1}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// The numbers that usage is made of are written as the library would.
func TestUsageIsCanonical(t *testing.T) {
	counts := func(n int64) SpentBy {
		return SpentBy{Day: SpentCounts{Requests: n, Rows: n + 1, Bytes: n + 2, Denials: n + 3, Sensitive: n + 4}, Hour: SpentCounts{Rows: 1 << 53}}
	}
	actor, task := counts(20), counts(30)
	for _, u := range []Spent{{}, {Subject: counts(1), Actor: &actor}, {Subject: counts(1), Actor: &actor, Task: &task}} {
		if got, want := string(u.appendJSON(nil)), string(canonical(u)); got != want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
		doc := &Document{Protocol: Postgres, Stage: StageRequest, Time: time.Unix(0, 0), Usage: &u}
		if doc.Digest() == (&Document{Protocol: Postgres, Stage: StageRequest, Time: time.Unix(0, 0)}).Digest() {
			t.Error("usage is not in the digest")
		}
	}
}

func FuzzAppend(f *testing.F) {
	f.Add("psql", "10.0.0.1:5", int64(3))
	f.Add("a\"\\\b\f\n\r\t\x00\x1f\x7f\xff é \u2028 <&>", "", int64(1<<60))
	f.Fuzz(func(t *testing.T, application, label string, n int64) {
		s := Session{ID: label, Client: Client{Application: application}, Labels: []string{label, application}, Usage: Usage{Rows: n % (1 << 53)}}
		if got, want := string(s.appendJSON(nil)), string(canonical(s)); got != want {
			t.Errorf("session\n got %s\nwant %s", got, want)
		}
		list := []Parameter{{Index: 1, Type: label, Value: &application, Encoding: "text"}, {Index: 2}}
		if got, want := NewParameters(list), NewPart(list); string(got.JSON()) != string(want.JSON()) || got.Digest() != want.Digest() {
			t.Errorf("parameters\n got %s\nwant %s", got.JSON(), want.JSON())
		}
		r := Request{ID: application, Digest: label}
		if got, want := string(r.appendJSON(nil)), string(canonical(r)); got != want {
			t.Errorf("request\n got %s\nwant %s", got, want)
		}
	})
}
