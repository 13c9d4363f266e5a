package corpus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/regate-dev/regate/engine/input"
)

const document = `{"schema":"regate.input/v1","stage":"request","time":"2026-11-01T08:00:00Z","subject":{"issuer":"i","id":"bob"},"actor":null}`

func read(t testing.TB, s Source) (list []Recorded, problems []string) {
	t.Helper()
	for r, err := range s {
		if err != nil {
			problems = append(problems, err.Error())
			continue
		}
		list = append(list, r)
	}
	return list, problems
}

func readText(t testing.TB, text string) ([]Recorded, []string) {
	t.Helper()
	return read(t, func(yield func(Recorded, error) bool) { Read(strings.NewReader(text), "x", yield) })
}

func TestForms(t *testing.T) {
	for text, want := range map[string]int{
		"":                                    0,
		document:                              1,
		document + document:                   2,
		document + "\n\n" + document:          2,
		"[" + document + "," + document + "]": 2,
		"[" + document + "]\n[]\n" + document: 2,
		`{"input":` + document + `}`:          1,
		`{"input":` + document + `,"ruling":null}`:    1,
		`{"input":` + document + `,"effect":"allow"}`: 1,
		" [ ] ":                              0,
		strings.Repeat("[]", 100) + document: 1,
		`{"decision_id":"d","time":"2026-11-02T00:00:00Z","input":` + document + `}`: 1,
	} {
		list, problems := readText(t, text)
		if len(list) != want || problems != nil {
			t.Errorf("%s: %d, %q", text, len(list), problems)
		}
		for _, r := range list {
			if r.Stage != "request" || r.Time.IsZero() || len(r.Entries) != 5 || r.InputDigest == "" || r.Ruling != nil {
				t.Errorf("%s: %+v", text, r)
			}
		}
	}
}

func TestWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":1}`:                "neither an input document",
		`7`:                      "no JSON object",
		`null`:                   "no JSON object",
		`[[]]`:                   "value 1 is a list",
		`[`:                      "x",
		document + document[:40]: "value 2: ",
		`{"input":7}`:            "no JSON object",
		`{"input":` + document + `,"surprise":1}`:                      "unknown field",
		`{"input":` + document + `,"input_digest":"sha256:00"}`:        "the input was changed",
		`{"input":` + document + `,"effect":"maybe"}`:                  "not deny, require_approval or allow",
		`{"input":` + document + `,"ruling":"x"}`:                      "recorded ruling",
		`{"schema":"s","schema":"s"}`:                                  "duplicate",
		`{"schema":"s","stage":7}`:                                     "stage",
		`{"schema":"s","time":"yesterday"}`:                            "time",
		`{"schema":"` + "\xff" + `"}`:                                  "UTF-8",
		`{"schema":"s","x":"` + strings.Repeat("a", MaxValue+1) + `"}`: "longer than",
		`{"schema":` + strings.Repeat("[", 20_000):                     "x",
	} {
		list, problems := readText(t, text)
		if len(problems) != 1 || !strings.Contains(problems[0], want) || len(list) > 1 {
			t.Errorf("%.80s: %d records, %q, want %q", text, len(list), problems, want)
		}
	}
	// What is wrong in one value does not hide the next.
	if list, problems := readText(t, document+`{"a":1}`+document); len(list) != 2 || len(problems) != 1 {
		t.Errorf("%d records, %q", len(list), problems)
	}
}

// TestExportedIsTheSame: what is written as JSON is read back as it was.
func TestExportedIsTheSame(t *testing.T) {
	want, problems := readText(t, `{"session_id":"s","turn":3,"decision_id":"d","stage":"request","effect":"deny","input":`+document+
		`,"ruling":{"effect":"deny","policy":{"bundles":{"main":{"revision":"1","digest":"sha256:00"}}}}}`)
	if len(want) != 1 {
		t.Fatal(problems)
	}
	raw, err := json.Marshal(want[0])
	if err != nil {
		t.Fatal(err)
	}
	got, problems := readText(t, string(raw))
	if len(got) != 1 || string(got[0].Input) != string(want[0].Input) || got[0].Bundles["main"].Digest != "sha256:00" || string(got[0].Ruling) != string(want[0].Ruling) {
		t.Errorf("%+v, %q", got, problems)
	}
	changed := bytes.Replace(raw, []byte(`"bob"`), []byte(`"eve"`), 1)
	if got, problems := readText(t, string(changed)); len(got) != 0 || len(problems) != 1 {
		t.Errorf("a changed input is taken: %+v, %q", got, problems)
	}
}

func TestFolders(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a.json": document, "sub/b.ndjson": document + document, "sub/c.jsonl": document, "d.txt": "no JSON", "e.JSON": document} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	source := Files(dir, filepath.Join(dir, "a.json"), filepath.Join(dir, "missing"))
	for range 2 { // it can be read again
		if list, problems := read(t, source); len(list) != 6 || len(problems) != 1 {
			t.Errorf("%d records, %q", len(list), problems)
		}
	}
	for range source { // and stopped anywhere
		break
	}
}

// TestSplit: the entries and the digest are those of the gateway.
func TestSplit(t *testing.T) {
	doc := &input.Document{Protocol: input.Postgres, Stage: input.StageRequest, Subject: input.NewPart(input.Principal{ID: "b<o>b\u2028"}), Complete: true}
	raw, err := doc.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	entries, err := Split(raw)
	if err != nil {
		t.Fatal(err)
	}
	if Digest(entries) != doc.Digest() {
		t.Error("another digest")
	}
	if string(Join(entries)) != string(raw) {
		t.Errorf("%s, not %s", Join(entries), raw)
	}
	list, problems := readText(t, string(raw))
	if len(list) != 1 || list[0].InputDigest != doc.Digest().String() {
		t.Errorf("%+v %q", list, problems)
	}
}

func TestAgents(t *testing.T) {
	var m Agents
	for text, want := range map[string]string{
		document: "bob",
		strings.Replace(document, `"actor":null`, `"actor":{"id":"a7","issuer":"i"}`, 1):  "a7 for bob",
		strings.Replace(document, `"actor":null`, `"actor":{"id":"bob","issuer":"i"}`, 1): "bob",
		`{"schema":"s"}`: "(nobody)",
	} {
		list, _ := readText(t, text)
		for range 2 {
			who, err := m.Of(&list[0])
			if err != nil || who.String() != want || !who.Is(want) {
				t.Errorf("%s: %v %v", text, who, err)
			}
		}
	}
	a := Agent{Subject: "bob", Actor: "a7"}
	if a.Is("bob") || !a.Is("a7") || a.Is("") {
		t.Error("an agent is taken for its subject")
	}
}

// FuzzRead: whatever a file holds, reading ends, and each record is whole.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{document, "[" + document + "]", `{"input":` + document + `,"ruling":{}}`, "[[", "]", `{"a"`, document + "x" + document} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		problems := 0
		Read(io.LimitReader(bytes.NewReader(raw), 1<<20), "fuzz", func(r Recorded, err error) bool {
			if err != nil {
				problems++
				return true
			}
			entries, err := Split(r.Input)
			if err != nil || Digest(entries).String() != r.InputDigest || !json.Valid(r.Input) {
				t.Errorf("%v: %s", err, r.Input)
			}
			return true
		})
		if problems > len(raw)+1 {
			t.Error(fmt.Sprint("more problems than bytes: ", problems))
		}
	})
}
