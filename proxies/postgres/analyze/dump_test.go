package analyze_test

import (
	"bytes"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/regate-dev/regate/proxies/postgres/analyze"
	"github.com/regate-dev/regate/proxies/postgres/catalog"
)

// TestDumpedCatalogue: every statement of the corpus means the same with the
// catalogue as it was dumped.
func TestDumpedCatalogue(t *testing.T) {
	_, live := database(t)
	var b bytes.Buffer
	if err := live.WriteDump(&b, catalog.Session{}); err != nil {
		t.Fatal(err)
	}
	dumped, _, err := catalog.ReadDump(&b)
	if err != nil {
		t.Fatal(err)
	}
	a := analyze.New(analyze.Options{})
	files, err := filepath.Glob(filepath.Join(corpus, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	statements := 0
	for _, file := range files {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var sql string
		set := settings
		for _, f := range ar.Files {
			switch f.Name {
			case "in.sql":
				sql = strings.TrimSuffix(string(f.Data), "\n")
			case "search_path":
				set.SearchPath = strings.Fields(string(f.Data))
			}
		}
		want, wantErr := a.Analyze(sql, live, set)
		got, gotErr := a.Analyze(sql, dumped, set)
		if (wantErr == nil) != (gotErr == nil) {
			t.Errorf("%s: %v, %v", file, wantErr, gotErr)
			continue
		}
		if wantErr != nil {
			continue
		}
		for i, w := range want.Statements {
			statements++
			g := got.Statements[i]
			if !reflect.DeepEqual(w.Facts, g.Facts) || !reflect.DeepEqual(w.Outputs, g.Outputs) || w.OutputsKnown != g.OutputsKnown {
				t.Errorf("%s: statement %d\nlive:   %+v\ndumped: %+v", file, i, w.Facts, g.Facts)
			}
		}
	}
	if statements < 50 {
		t.Errorf("only %d statements", statements)
	}
}
