package rewrite

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/mask"
	"github.com/regate-dev/regate/engine/policy"
)

func keyring(t testing.TB) *mask.Keyring {
	t.Helper()
	k, err := mask.NewKeyring(bytes.Repeat([]byte("k"), 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func masker(t testing.TB, typ string, masks ...policy.Mask) *Masker {
	t.Helper()
	var kinds []string
	for _, m := range masks {
		if m.Detect != "" {
			kinds = append(kinds, m.Detect)
		}
	}
	var detect *mask.Detector
	if len(kinds) > 0 {
		var err error
		if detect, err = mask.NewDetector(kinds); err != nil {
			t.Fatal(err)
		}
	}
	return New(keyring(t), engine.NewTree(masks, detect, func(string) mask.Spec { return mask.Spec{Method: mask.Redact} }), typ)
}

func redact(field string) policy.Mask { return policy.Mask{Field: field, Method: mask.Redact} }

func TestDocuments(t *testing.T) {
	const secret = "hunter2"
	coded := base64.StdEncoding.EncodeToString([]byte(secret))
	redacted := base64.StdEncoding.EncodeToString([]byte(Withheld))
	card := policy.Mask{Detect: "credit_card", Method: mask.Redact}
	for name, c := range map[string]struct {
		typ      string
		masks    []policy.Mask
		in, want string
		failed   bool
	}{
		"object": {"secrets", []policy.Mask{redact("secrets:/data")},
			`{"kind":"Secret","metadata":{"name":"a"},"data":{"p":"` + coded + `"},"type":"Opaque"}`,
			`{"kind":"Secret","metadata":{"name":"a"},"data":{"p":"` + redacted + `"},"type":"Opaque"}`, false},
		"list with its kind last": {"widgets.example.com", []policy.Mask{redact("widgets.example.com:/spec/token")},
			`{"apiVersion":"x/v1","items":[{"spec":{"token":"hunter2","n":1}},{"spec":{"token":5}}],"kind":"WidgetList"}`,
			`{"apiVersion":"x/v1","items":[{"spec":{"token":"[REDACTED]","n":1}},{"spec":{"token":null}}],"kind":"WidgetList"}`, false},
		"through lists": {"pods", []policy.Mask{redact("pods:/spec/containers/env/value")},
			`{"spec":{"containers":[{"name":"c","env":[{"name":"A","value":"hunter2"},{"name":"B"}]}]}}`,
			`{"spec":{"containers":[{"name":"c","env":[{"name":"A","value":"[REDACTED]"},{"name":"B"}]}]}}`, false},
		"null": {"configmaps", []policy.Mask{{Field: "configmaps:/data/a", Method: mask.Null}},
			`{"data":{"a":"hunter2","b":"c"}}`, `{"data":{"a":null,"b":"c"}}`, false},
		"every type": {"pods/status", []policy.Mask{redact("/metadata/annotations/example.com~1owner")},
			`{"metadata":{"name":"hunter","annotations":{"example.com/owner":"hunter2","x":"y"}}}`,
			`{"metadata":{"name":"hunter","annotations":{"example.com/owner":"[REDACTED]","x":"y"}}}`, false},
		"a subresource's own": {"serviceaccounts/token", []policy.Mask{redact("serviceaccounts/token:/status/token")},
			`{"status":{"token":"hunter2"}}`, `{"status":{"token":"[REDACTED]"}}`, false},
		"another type": {"configmaps", []policy.Mask{redact("secrets:/data")}, `{"data":{"a":"b"}}`, `{"data":{"a":"b"}}`, false},
		"the whole object": {"secrets", []policy.Mask{redact("secrets:/")},
			`{"kind":"Secret","metadata":{"name":"a","labels":{"x":"hunter2"}},"immutable":true}`,
			`{"kind":"Secret","metadata":{"name":"a","labels":{"x":"[REDACTED]"}},"immutable":null}`, false},
		"last applied": {"secrets", []policy.Mask{redact("secrets:/data")},
			`{"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"data\":{\"p\":\"` + coded + `\"}}"}}}`,
			`{"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"data\":{\"p\":\"` + redacted + `\"}}"}}}`, false},
		"last applied that is no object": {"secrets", []policy.Mask{redact("secrets:/data")},
			`{"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{hunter2"}}}`,
			`{"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"[REDACTED]"}}}`, false},
		"table of a custom resource": {"widgets.example.com", []policy.Mask{redact("widgets.example.com:/spec/token")},
			`{"kind":"Table","columnDefinitions":[{"name":"Name","format":"name"},{"name":"Token"}],"rows":[{"cells":["w","hunter2"],"object":{"spec":{"token":"hunter2"}}}]}`,
			`{"kind":"Table","columnDefinitions":[{"name":"Name","format":"name"},{"name":"Token"}],"rows":[{"cells":["w","[REDACTED]"],"object":{"spec":{"token":"[REDACTED]"}}}]}`, false},
		"table of secrets": {"secrets", []policy.Mask{redact("secrets:/data")},
			`{"kind":"Table","columnDefinitions":[{"name":"Name","format":"name"}],"rows":[{"cells":["a","Opaque",1,"5s"]}]}`,
			`{"kind":"Table","columnDefinitions":[{"name":"Name","format":"name"}],"rows":[{"cells":["a","Opaque",1,"5s"]}]}`, false},
		"kinds in every text": {"configmaps", []policy.Mask{card},
			`{"metadata":{"annotations":{"a":"card 4111 1111 1111 1111"}},"data":{"n":4111111111111111,"x":["4111111111111111"]}}`,
			`{"metadata":{"annotations":{"a":"card [REDACTED:credit_card]"}},"data":{"n":null,"x":["[REDACTED:credit_card]"]}}`, false},
		"kinds in a secret": {"secrets", []policy.Mask{card},
			`{"data":{"p":"` + base64.StdEncoding.EncodeToString([]byte("4111111111111111")) + `"}}`,
			`{"data":{"p":"` + base64.StdEncoding.EncodeToString([]byte("[REDACTED:credit_card]")) + `"}}`, false},
		"an error that quotes": {"secrets", []policy.Mask{redact("secrets:/data")},
			`{"kind":"Status","message":"denied: hunter2","reason":"Invalid","details":{"causes":[{"message":"hunter2"}]},"code":422}`,
			`{"kind":"Status","message":"[withheld by regate: the message may quote a masked value]","reason":"Invalid","details":{"causes":[{"message":"[withheld by regate: the message may quote a masked value]"}]},"code":422}`, true},
		"an error by rights": {"secrets", []policy.Mask{redact("secrets:/data")},
			`{"kind":"Status","message":"secrets \"db\" is forbidden: User \"a\" cannot get resource \"secrets\" in API group \"\" in the namespace \"x\"","reason":"Forbidden"}`,
			`{"kind":"Status","message":"secrets \"db\" is forbidden: User \"a\" cannot get resource \"secrets\" in API group \"\" in the namespace \"x\"","reason":"Forbidden"}`, true},
		"an error by rights that goes on": {"secrets", []policy.Mask{redact("secrets:/data")},
			`{"message":"secrets \"db\" is forbidden: User \"a\" cannot get resource \"secrets\" in API group \"\" in the namespace \"x\": hunter2","reason":"Forbidden"}`,
			`{"message":"[withheld by regate: the message may quote a masked value]","reason":"Forbidden"}`, true},
	} {
		var out bytes.Buffer
		if err := masker(t, c.typ, c.masks...).Document(&out, strings.NewReader(c.in), c.failed); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := strings.TrimSpace(out.String()); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

// However a name is written, and wherever space is, a mask finds it; what is not
// masked stays byte by byte.
func TestSpelling(t *testing.T) {
	for in, want := range map[string]string{
		`{"\u0064ata":{"p":"hunter2"}}`:                                         `{"data":{"p":"[REDACTED]"}}`,
		`{"data":{"\u0070":"hunter2","a\"b":"hunter2"}}`:                        `{"data":{"\u0070":"[REDACTED]","a\"b":"[REDACTED]"}}`,
		"{ \"data\" :\n{ \"p\" : \"hunter2\" , \"q\":\t[ \"hunter2\" , 1 ] } }": "{\"data\":{ \"p\" : \"[REDACTED]\" , \"q\":\t[ \"[REDACTED]\" , null ] }}",
		`{"data":{"p":"hunter2"},"data":{"p":"hunter2"}}`:                       `{"data":{"p":"[REDACTED]"},"data":{"p":"[REDACTED]"}}`,
		`{"data":{"p":"hunter2\\\\\"x"},"d":"\\\\"}`:                            `{"data":{"p":"[REDACTED]"},"d":"\\\\"}`,
		`{"items":[ {"data": {"p":"hunter2"}} , {"x":1} ],"n":[]}`:              `{"items":[{"data": {"p":"[REDACTED]"}},{"x":1}],"n":[]}`,
		`{"items":[],"rows":[],"x":{}}`:                                         `{"items":[],"rows":[],"x":{}}`,
		`{}`:                                                                    `{}`,
	} {
		var out bytes.Buffer
		if err := masker(t, "configmaps", redact("configmaps:/data")).Document(&out, strings.NewReader(in), false); err != nil {
			t.Errorf("%s: %v", in, err)
		}
		if out.String() != want {
			t.Errorf("%s\nbecame %s\n   not %s", in, out.String(), want)
		}
	}
}

// What is no whole JSON document is an error, wherever it ends: what was written
// before is not taken for all of it.
func TestNoDocument(t *testing.T) {
	const whole = `{"items":[{"data":{"p":"hunter2"}},{"data":{}}],"rows":[{"cells":["x"]}],"metadata":{"a":[1,true,null]}}`
	for i := range whole {
		var out bytes.Buffer
		if err := masker(t, "configmaps", redact("configmaps:/data")).Document(&out, strings.NewReader(whole[:i]), false); err == nil {
			t.Errorf("%s is a document", whole[:i])
		}
		if strings.Contains(out.String(), "hunter2") {
			t.Errorf("%s became %s", whole[:i], out.String())
		}
	}
	for _, bad := range []string{whole + "x", whole + whole, `{"items":[}`, `{"items":[1,]}`, `{"a":tru}`, `{"a" 1}`, "{\"a\":\"\xff\"}"} {
		if err := masker(t, "configmaps", redact("configmaps:/data")).Document(io.Discard, strings.NewReader(bad), false); err == nil {
			t.Errorf("%s is a document", bad)
		}
	}
}

func TestListsAllocateLittle(t *testing.T) {
	list := podList(1000)
	m := masker(t, "pods", redact("pods:/spec/containers/env/value"))
	allocs := testing.AllocsPerRun(3, func() {
		if err := m.Document(io.Discard, bytes.NewReader(list), false); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 200 {
		t.Errorf("%.0f allocations for 1,000 pods", allocs)
	}
}

func TestEvents(t *testing.T) {
	in := `{"type":"ADDED","object":{"metadata":{"name":"a"},"spec":{"token":"hunter2"}}}
{"object":{"spec":{"token":"hunter2"}},"type":"MODIFIED"}{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"5","annotations":{"k8s.io/initial-events-end":"true"}}}}
{"type":"ERROR","object":{"kind":"Status","message":"hunter2","reason":"InternalError"}}
`
	want := `{"type":"ADDED","object":{"metadata":{"name":"a"},"spec":{"token":"[REDACTED]"}}}
{"object":{"spec":{"token":"[REDACTED]"}},"type":"MODIFIED"}
{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"5","annotations":{"k8s.io/initial-events-end":"true"}}}}
{"type":"ERROR","object":{"kind":"Status","message":"[withheld by regate: the message may quote a masked value]","reason":"InternalError"}}
`
	m := masker(t, "widgets.example.com", redact("widgets.example.com:/spec/token"))
	var out bytes.Buffer
	dec := jsontext.NewDecoder(strings.NewReader(in))
	for {
		err := m.Event(&out, dec)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	for _, bad := range []string{`[1]`, `{"object":{}}`, `{"type":1}`, `{"type":"ADDED","object":{}`, `nonsense`} {
		if err := m.Event(&out, jsontext.NewDecoder(strings.NewReader(bad))); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestWrittenBack(t *testing.T) {
	fields := []string{"secrets:/data", "secrets:/stringData"}
	for body, want := range map[string]string{
		`{"data":{"p":"` + base64.StdEncoding.EncodeToString([]byte(Withheld)) + `"}}`: "/data/p",
		`{"stringData":{"p":"tok_abc"}}`:                                               "/stringData/p",
		`{"data":{"p":"` + base64.StdEncoding.EncodeToString([]byte("***11")) + `"}}`:  "/data/p",
		`{"metadata":{"labels":{"a":"x [REDACTED:email]"}}}`:                           "/metadata/labels/a",
		`{"data":{"p":null}}`: "/data/p",
		`{"data":{"p":"aHVudGVyMg=="},"metadata":{"name":"***"}}`: "",
		`{"data":null}`: "/data",
	} {
		var v any
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			t.Fatal(err)
		}
		if got := WrittenBack(v, fields, "secrets"); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

// Whatever else an object holds, a masked value is not in what comes out; what
// comes out is JSON.
func FuzzMasker(f *testing.F) {
	const secret = "s3cr3t-v4lu3"
	f.Add(`{"a":1}`, false)
	f.Add(`{"items":[{"data":{}}],"rows":[{"cells":["x"],"object":{}}]}`, true)
	f.Add(`{"metadata":{"annotations":{"x":"y"}},"kind":"Status"}`, false)
	f.Fuzz(func(t *testing.T, around string, listed bool) {
		var other map[string]json.RawMessage
		if json.Unmarshal([]byte(around), &other) != nil || strings.Contains(around, secret) || strings.Contains(around, `\`) {
			return
		}
		if other == nil {
			other = map[string]json.RawMessage{}
		}
		other["data"] = json.RawMessage(`{"p":"` + base64.StdEncoding.EncodeToString([]byte(secret)) + `","q":["` + secret + `",{"r":"` + secret + `"}]}`)
		text, err := json.Marshal(other)
		if err != nil {
			return
		}
		if listed {
			text = append(append([]byte(`{"items":[`), text...), `],"kind":"SecretList"}`...)
		}
		var out bytes.Buffer
		if masker(t, "secrets", redact("secrets:/data")).Document(&out, bytes.NewReader(text), false) != nil {
			return
		}
		if strings.Contains(out.String(), secret) || strings.Contains(out.String(), base64.StdEncoding.EncodeToString([]byte(secret))[:12]) {
			t.Errorf("%s\nbecame\n%s", text, out.String())
		}
		if !json.Valid(out.Bytes()) {
			t.Errorf("not JSON: %s", out.String())
		}
	})
}
