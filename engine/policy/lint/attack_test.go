package lint

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const metadata = `# METADATA
# title: t
# description: d
# scope: package
# schemas:
#   - input: schema.postgres
# custom:
#   regate: {protocols: [postgres], mode: enforce}
package regate.policies.acme.sql

`

// check writes files into a folder and checks it.
func check(t *testing.T, files map[string]string) *Report {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Check(t.Context(), Options{Paths: []string{"."}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func ids(r *Report) []string {
	var out []string
	for _, f := range r.Findings {
		out = append(out, f.ID)
	}
	return out
}

// TestManyRules: what each check does grows with the rules, not with pairs of
// them.
func TestManyRules(t *testing.T) {
	var b strings.Builder
	b.WriteString(metadata)
	for i := range 1_500 {
		fmt.Fprintf(&b, "deny contains {\"id\": \"acme.sql/d%d\"} if {\n\tinput.action.verb == \"drop\"\n\thelper_%d(input.subject.id)\n\t\"public.t%d\" in input.resource.table_names\n}\n\n", i, i%10, i)
		fmt.Fprintf(&b, "allow contains {\"id\": \"acme.sql/a%d\"} if {\n\tinput.subject.id == \"u%d\"\n\tinput.complete == true\n\teither\n\teither\n\teither\n}\n\n", i, i)
	}
	for i := range 10 {
		fmt.Fprintf(&b, "helper_%d(x) if x == \"a\"\n\nhelper_%d(x) if startswith(x, \"b\")\n\n", i, i)
	}
	for i := range 8 {
		fmt.Fprintf(&b, "either if input.subject.client_id == \"c%d\"\n\n", i)
	}
	r := check(t, map[string]string{"p.rego": b.String()})
	if len(r.Findings) > 0 {
		t.Errorf("%d findings, the first %+v", len(r.Findings), r.Findings[0])
	}
}

// TestDeep: rules that call each other a hundred deep, with two bodies each,
// have 2^100 ways.
func TestDeep(t *testing.T) {
	var b strings.Builder
	b.WriteString(metadata + "allow contains {\"id\": \"acme.sql/x\"} if {\n\tinput.complete == true\n\th0(input.action.verb)\n}\n\n")
	for i := range 100 {
		fmt.Fprintf(&b, "h%d(x) if h%d(x)\n\nh%d(x) if {\n\tx != input.subject.id\n\th%d(x)\n}\n\n", i, i+1, i, i+1)
	}
	b.WriteString("h100(x) if x == \"drpo\"\n\n")
	b.WriteString("deny contains {\"id\": \"acme.sql/y\"} if input.subject.id in " + strings.Repeat("[", 200) + "\"x\"" + strings.Repeat("]", 200) + "\n")
	check(t, map[string]string{"p.rego": b.String()})
}

func TestCyclic(t *testing.T) {
	r := check(t, map[string]string{"p.rego": metadata + "allow contains {\"id\": \"acme.sql/x\"} if f(1)\n\nf(x) if g(x)\n\ng(x) if f(x)\n\nset contains x if some x in set\n"})
	if !slices.Contains(ids(r), idRecursion) {
		t.Error(ids(r))
	}
}

func TestHostileFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	outside := filepath.Join(t.TempDir(), "secret.rego")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(outside, "package secret\n\npassword := \"hunter2\" secret words\n")
	write("latin.rego", "package x\n\ny := \"\xe9\"\n")
	write("empty.rego", "")
	write("nul.rego", "package x\x00y\n")
	for to, name := range map[string]string{outside: "link.rego", "/dev/zero": "zero.rego", "nowhere": "dangling.rego"} {
		if err := os.Symlink(to, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir("folder.rego", 0o755); err != nil {
		t.Fatal(err)
	}
	r, err := Check(t.Context(), Options{Paths: []string{"."}})
	if err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	if err := r.WriteText(&all, nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"latin.rego", "link.rego", "zero.rego", "dangling.rego", "nul.rego"} {
		if !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.File == name && f.Severity == Error }) {
			t.Errorf("nothing is said of %s:\n%s", name, all.String())
		}
	}
	if strings.Contains(all.String(), "hunter2") {
		t.Errorf("a file outside of the folder is shown:\n%s", all.String())
	}
}

func TestArchives(t *testing.T) {
	t.Chdir(t.TempDir())
	pack := func(name string, files map[string]string) {
		var b bytes.Buffer
		zw := gzip.NewWriter(&b)
		tw := tar.NewWriter(zw)
		for _, n := range sortedKeys(files) {
			if err := tw.WriteHeader(&tar.Header{Name: n, Mode: 0o644, Size: int64(len(files[n]))}); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(tw, files[n]); err != nil {
				t.Fatal(err)
			}
		}
		if err := tw.Close(); err != nil {
			t.Fatal(err)
		}
		if err := zw.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	body := metadata + "deny contains {\"id\": \"acme.sql/x\"} if input.action.verb == \"drpo\"\n"
	pack("good.tar.gz", map[string]string{"p.rego": body})
	pack("out.tar.gz", map[string]string{"../p.rego": body})
	pack("syntax.tar.gz", map[string]string{"p.rego": "package x\n\nallow if if\n"})
	if err := os.WriteFile("broken.tar.gz", []byte("no archive"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"good.tar.gz": idValue, "out.tar.gz": idLoad, "broken.tar.gz": idLoad, "syntax.tar.gz": idSyntax} {
		r, err := Check(t.Context(), Options{Paths: []string{name}})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(ids(r), want) {
			t.Errorf("%s: %+v, want %s", name, r.Findings, want)
		}
		if name == "good.tar.gz" && (len(r.Findings) == 0 || r.Findings[0].Source == "") {
			t.Errorf("the source is not known: %+v", r.Findings)
		}
	}
}

// TestHostileNames: names of files and texts of policies do not get out of the
// formats that they are written in.
func TestHostileNames(t *testing.T) {
	name := "a\n::error::pwned,\x1b[31m%0A&<>\"]]>.rego"
	r := check(t, map[string]string{
		name: metadata + "deny contains {\"id\": \"old]]>\u202e\\u0000\\u001b[31m\\n::set-output name=x::\"} if input.action.verb == \"a\\n::error::b\"\n",
	})
	if len(r.Findings) < 2 {
		t.Fatalf("%+v", r.Findings)
	}
	var b bytes.Buffer
	if err := r.WriteGitHub(&b); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if !strings.HasPrefix(line, "::error title=") && !strings.HasPrefix(line, "::warning title=") && !strings.HasPrefix(line, "::notice title=") {
			t.Errorf("a line that nobody wrote: %q", line)
		}
	}
	b.Reset()
	if err := r.WriteText(&b, nil); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(b.String(), "\x1b\u202e\x00") {
		t.Errorf("the terminal gets control characters: %q", b.String())
	}
	b.Reset()
	if err := r.WriteJUnit(&b, Error); err != nil {
		t.Fatal(err)
	}
	var suites junitSuites
	if err := xml.Unmarshal(b.Bytes(), &suites); err != nil {
		t.Errorf("JUnit: %v\n%s", err, b.String())
	} else if suites.Failures == 0 || suites.Tests < suites.Failures {
		t.Errorf("%+v", suites)
	}
	b.Reset()
	if err := r.WriteSARIF(&b, "1.2.3"); err != nil {
		t.Fatal(err)
	}
	if !json.Valid(b.Bytes()) || bytes.Contains(b.Bytes(), []byte("\x1b")) {
		t.Errorf("SARIF: %q", b.String())
	}
	b.Reset()
	if err := r.WriteJSON(&b); err != nil || !json.Valid(b.Bytes()) {
		t.Errorf("JSON: %v %q", err, b.String())
	}
}

// TestColumns: they count characters, so that the caret is below what is meant.
func TestColumns(t *testing.T) {
	r := check(t, map[string]string{"p.rego": metadata + "deny contains {\"id\": \"acme.sql/x\", \"msg\": \"äöü€𝄞\"} if input.action.verb == \"drpo\"\n"})
	if len(r.Findings) != 1 {
		t.Fatalf("%+v", r.Findings)
	}
	f := r.Findings[0]
	source, caret := pointAt(f.Source, f.Column)
	if at := []rune(source)[len([]rune(caret))-1:]; !strings.HasPrefix(string(at), `"drpo"`) {
		t.Errorf("column %d points at %q", f.Column, string(at))
	}
	source, caret = pointAt("\t"+strings.Repeat("x", 1_000)+"here", 1_002)
	if at := []rune(source)[len([]rune(caret))-1:]; !strings.HasPrefix(string(at), "here") {
		t.Errorf("%q\n%q", source, caret)
	}
}

// TestNothing: a folder without anything.
func TestNothing(t *testing.T) {
	if r := check(t, nil); !slices.Equal(ids(r), []string{idEmpty}) {
		t.Error(ids(r))
	}
}
