package request

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite what testdata/*.txtar expects")

// Each file holds requests ("name.http") and what they are decoded to
// ("name.json"), or why they are refused ("name.refused").
func TestRequests(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{}
		for _, f := range archive.Files {
			want[f.Name] = string(f.Data)
		}
		out := &txtar.Archive{Comment: archive.Comment}
		for _, f := range archive.Files {
			name, ok := strings.CutSuffix(f.Name, ".http")
			if !ok {
				continue
			}
			t.Run(filepath.Base(file)+"/"+name, func(t *testing.T) {
				raw, err := Read(f.Data)
				if err != nil {
					t.Fatal(err)
				}
				raw.Body = bytes.TrimSuffix(raw.Body, []byte("\n"))
				got, as := shown(t, raw), ".json"
				if strings.HasPrefix(got, "kubernetes/") {
					as = ".refused"
				}
				out.Files = append(out.Files, f, txtar.File{Name: name + as, Data: []byte(got)})
				if !*update && got != want[name+as] {
					t.Errorf("got\n%s\nwant\n%s", got, want[name+as])
				}
			})
		}
		if *update {
			if err := os.WriteFile(file, txtar.Format(out), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// shown leaves out what is empty, so that a file shows what matters.
func shown(t *testing.T, raw Raw) string {
	t.Helper()
	r, refusal := Decode(raw, Options{})
	if refusal != nil {
		return refusal.Reason + "\n" + refusal.Message + "\n"
	}
	text, err := json.Marshal(map[string]any{"action": r.Action, "resource": r.Resource, "kubernetes": r.Detail, "unknown": r.Unknown, "onward": r.URL.String()})
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	text, err = json.MarshalIndent(prune(doc), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text) + "\n"
}

func prune(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, e := range v {
			if e = prune(e); e == nil {
				delete(v, key)
			} else {
				v[key] = e
			}
		}
		if len(v) == 0 {
			return nil
		}
	case []any:
		for i, e := range v {
			v[i] = prune(e)
		}
		if len(v) == 0 {
			return nil
		}
	case string:
		if v == "" {
			return nil
		}
	case bool:
		if !v {
			return nil
		}
	}
	return v
}
