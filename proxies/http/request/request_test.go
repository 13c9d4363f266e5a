package request

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite what testdata/*.txtar expects")

// Each file holds requests ("name.http", or "name.raw" in Go's quoted strings)
// and what they are read as ("name.json"), or why they are refused
// ("name.refused"). "options.json" and "openapi.yaml" are for all of a file.
// Requests whose name begins with "forward-" come to a forward proxy.
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
		want, options := map[string]string{}, Options{}
		out := &txtar.Archive{Comment: archive.Comment}
		for _, f := range archive.Files {
			want[f.Name] = string(f.Data)
			switch f.Name {
			case "options.json":
				if err := json.Unmarshal(f.Data, &options); err != nil {
					t.Fatal(file, err)
				}
				out.Files = append(out.Files, f)
			case "openapi.yaml":
				if options.Routes, err = LoadRoutes(f.Data, ""); err != nil {
					t.Fatal(file, err)
				}
				out.Files = append(out.Files, f)
			}
		}
		decoder, err := NewDecoder(options)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.Files {
			ext := filepath.Ext(f.Name)
			name := strings.TrimSuffix(f.Name, ext)
			if ext != ".http" && ext != ".raw" {
				continue
			}
			t.Run(filepath.Base(file)+"/"+name, func(t *testing.T) {
				raw := AsSent(f.Data)
				if !bytes.HasSuffix(raw, []byte("\r\n")) {
					raw = bytes.TrimSuffix(raw, []byte("\n"))
				}
				if ext == ".raw" {
					raw = unquote(t, f.Data)
				}
				got, as := shownAs(t, decoder, raw, strings.HasPrefix(name, "forward-")), ".json"
				if strings.HasPrefix(got, "http/") {
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

func unquote(t *testing.T, text []byte) []byte {
	t.Helper()
	var out []byte
	for line := range strings.Lines(string(text)) {
		s, err := strconv.Unquote(strings.TrimSpace(line))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		out = append(out, s...)
	}
	return out
}

// readWhole takes a request the whole way.
func readWhole(d *Decoder, raw []byte, forward bool) (*Request, error) {
	m, err := ReadMessage(raw)
	if err != nil {
		return nil, err
	}
	in, err := m.Incoming("https", forward)
	if err != nil {
		return nil, err
	}
	r, err := d.Head(in)
	if err != nil {
		return nil, err
	}
	if m.HasBody {
		if err := r.Read(m.Body); err != nil {
			return nil, err
		}
	}
	r.Find()
	return r, nil
}

// shownAs leaves out what is empty, so that a file shows what matters.
func shownAs(t *testing.T, d *Decoder, raw []byte, forward bool) string {
	t.Helper()
	r, err := readWhole(d, raw, forward)
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return refusal.Reason + "\n" + refusal.Message + "\n"
	}
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{"action": r.Action, "resource": r.Resource, "http": r.Detail, "unknown": r.Unknown})
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
