package analyze_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/postgres/analyze"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden is what a case's want.json holds of each statement.
type golden struct {
	Text         string             `json:"text"`
	Command      string             `json:"command"`
	Action       input.SQLAction    `json:"action"`
	Resource     input.SQLResource  `json:"resource"`
	Statement    input.SQLStatement `json:"statement"`
	Unknown      []input.Unknown    `json:"unknown"`
	Complete     bool               `json:"complete"`
	Touched      []string           `json:"touched"`
	Uses         []string           `json:"uses"`
	Outputs      []analyze.Output   `json:"outputs"`
	OutputsKnown bool               `json:"outputs_known"`
	ReturnsRows  bool               `json:"returns_rows"`
	Effects      map[string]any     `json:"effects"`
}

// effects are the effects that are not zero; statements inside are left out.
func effects(e analyze.Effects) map[string]any {
	if e.Prepare != nil {
		e.Prepare = &analyze.Prepare{Name: e.Prepare.Name + " AS " + e.Prepare.Inner.Text}
	}
	if e.Declare != nil {
		e.Declare = &analyze.Declare{Name: e.Declare.Name + " FOR " + e.Declare.Inner.Text, Hold: e.Declare.Hold}
	}
	if e.Execute != nil {
		e.Execute = &analyze.Execute{Name: e.Execute.Name}
	}
	if e.Fetch != nil {
		e.Fetch = &analyze.Fetch{Name: e.Fetch.Name, Move: e.Fetch.Move}
	}
	raw, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	all := map[string]any{}
	if err := json.Unmarshal(raw, &all); err != nil {
		panic(err)
	}
	for k, v := range all {
		if v == nil || v == false || v == "" {
			delete(all, k)
		}
	}
	return all
}

func TestGolden(t *testing.T) {
	_, snap := database(t)
	a := analyze.New(analyze.Options{})
	files, err := filepath.Glob(filepath.Join(corpus, "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 10 {
		t.Errorf("only %d cases", len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var sql string
			want := -1
			set := settings
			for i, f := range ar.Files {
				switch f.Name {
				case "in.sql":
					sql = strings.TrimSuffix(string(f.Data), "\n")
				case "search_path":
					set.SearchPath = strings.Fields(string(f.Data))
				case "want.json":
					want = i
				}
			}
			var got any
			batch, err := a.Analyze(sql, snap, set)
			if err != nil {
				got = err
			} else {
				list := []golden{}
				for _, s := range batch.Statements {
					list = append(list, golden{
						Text: s.Text, Command: s.Command, Action: s.Facts.Action, Resource: s.Facts.Resource,
						Statement: s.Facts.Statement, Unknown: s.Facts.Unknown, Complete: s.Complete,
						Touched: s.Facts.Touched, Uses: s.Facts.UsesColumns,
						Outputs: s.Outputs, OutputsKnown: s.OutputsKnown, ReturnsRows: s.ReturnsRows, Effects: effects(s.Effects),
					})
				}
				got = list
			}
			raw, err := json.MarshalIndent(got, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			raw = append(raw, '\n')
			if *update {
				if want < 0 {
					ar.Files = append(ar.Files, txtar.File{Name: "want.json"})
					want = len(ar.Files) - 1
				}
				ar.Files[want].Data = raw
				if err := os.WriteFile(file, txtar.Format(ar), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want < 0 || string(ar.Files[want].Data) != string(raw) {
				t.Errorf("got:\n%s", raw)
			}
		})
	}
}
