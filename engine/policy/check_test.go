package policy

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
)

func TestCheckBundles(t *testing.T) {
	good := folder(t, map[string]string{".manifest": `{"roots":["regate/policies/a"]}`, "p.rego": module("a.p", `allow contains {"id": "a.p/all"} if true`)})
	same := folder(t, map[string]string{".manifest": `{"roots":["regate/policies/a"]}`, "q.rego": module("a.q", `allow contains {"id": "a.q/all"} if true`)})
	bad := folder(t, map[string]string{".manifest": `{"roots":["regate/policies/b"]}`, "p.rego": module("b.p", "allow contains {\"id\": \"b.p/all\"} if input.no_such_key\n\ndeny contains x if y")})
	torn := folder(t, map[string]string{".manifest": `{"roots":["regate/policies/c"]}`, "p.rego": module("c.p", "allow contains {")})
	for _, c := range []struct {
		name    string
		bundles []Bundle
		want    []string // parts of the problems, none: no problem
		file    string
	}{
		{"good", []Bundle{{Name: "one", Paths: []string{good}}}, nil, ""},
		{"roots overlap within one", []Bundle{{Name: "one", Paths: []string{good, same}}}, []string{"overlap", good, same}, ""},
		{"roots overlap between two", []Bundle{{Name: "one", URL: good}, {Name: "two", URL: same}}, []string{"overlap"}, ""},
		{"does not compile", []Bundle{{Name: "one", Paths: []string{good}}, {Name: "two", Paths: []string{bad}}}, []string{"rego_"}, filepath.Join(bad, "p.rego")},
		{"does not parse", []Bundle{{Name: "one", Paths: []string{good, torn}}}, []string{"rego_parse_error"}, filepath.Join(torn, "p.rego")},
		{"is not there", []Bundle{{Name: "one", Paths: []string{filepath.Join(good, "nothing")}}}, []string{"no such file"}, ""},
		{"remote ones are not asked", []Bundle{{Name: "one", Paths: []string{good}}, {Name: "far", URL: "https://bundles.invalid/x.tar.gz"}}, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			problems := Config{Bundles: c.bundles}.CheckBundles(t.Context())
			if (len(problems) == 0) != (len(c.want) == 0) {
				t.Fatalf("problems %+v, want %v", problems, c.want)
			}
			text := fmt.Sprintf("%+v", problems)
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in %s", want, text)
				}
			}
			for _, p := range problems {
				if p.File != c.file || (p.Line > 0) != (c.file != "") {
					t.Errorf("at %q line %d, want %q: %s", p.File, p.Line, c.file, p.Text)
				}
			}
		})
	}
}

// TestClosedEngineDenies: closing puts nothing in force, and leaves nothing.
func TestClosedEngineDenies(t *testing.T) {
	var log bytes.Buffer
	logger := logrus.New()
	logger.SetOutput(&log)
	e := policyEngine(t, `allow contains {"id": "t.p/all"} if true`, func(c *Config) { c.Logger = logger })
	expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/all")
	before := e.Counters().Activations
	if err := e.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	expect(t, e.Evaluate(t.Context(), selectDoc()), Deny, "engine/no-bundle")
	if err := e.Ready(); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("ready: %v", err)
	}
	if n := strings.Count(log.String(), "policies in force"); n != 1 || e.Counters().Activations != before {
		t.Errorf("%d activations logged, %d counted:\n%s", n, e.Counters().Activations, log.String())
	}
}
