package backtest

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/policy/corpus"
)

// facts are what reports say of a request, read from its input.
type facts struct {
	agent  corpus.Agent
	target targetFacts
	action actionFacts
	res    *resourceFacts
}

type targetFacts struct{ Name string }

type actionFacts struct {
	Verb   string
	Opaque bool
}

// resourceFacts are read in the form of SQL; other protocols have names alone.
type resourceFacts struct {
	Kind          string   `json:"kind"`
	Names         []string `json:"names"`
	TableNames    []string `json:"table_names"`
	ColumnNames   []string `json:"column_names"`
	FunctionNames []string `json:"function_names"`

	sql bool
}

// tables are the tables, or the names where the protocol knows no tables.
func (r *resourceFacts) tables() []string {
	switch {
	case r.sql && len(r.TableNames) > 0:
		return r.TableNames
	case len(r.Names) > 0:
		return r.Names
	}
	return []string{"(none)"}
}

// reader reads facts and keeps what it read of shared parts. It is for one
// goroutine.
type reader struct {
	agents    corpus.Agents
	targets   map[input.Digest]targetFacts
	actions   map[input.Digest]actionFacts
	resources map[input.Digest]*resourceFacts
}

// readerKeeps bounds each of a reader's maps.
const readerKeeps = 4_096

func newReader() *reader {
	return &reader{targets: map[input.Digest]targetFacts{}, actions: map[input.Digest]actionFacts{}, resources: map[input.Digest]*resourceFacts{}}
}

// read returns the facts of r. What does not have the usual form is left empty:
// facts are for reports, and decide nothing.
func (x *reader) read(r *corpus.Recorded) facts {
	var f facts
	f.agent, _ = x.agents.Of(r)
	f.res = &resourceFacts{}
	for i := range r.Entries {
		e := &r.Entries[i]
		switch e.Key {
		case "target":
			f.target = remember(x.targets, e, func(t *targetFacts) { _ = json.Unmarshal(e.JSON, t) })
		case "action":
			f.action = remember(x.actions, e, func(a *actionFacts) { _ = json.Unmarshal(e.JSON, a) })
		case "resource":
			f.res = remember(x.resources, e, func(to **resourceFacts) {
				res := &resourceFacts{}
				_ = json.Unmarshal(e.JSON, res)
				res.sql = res.TableNames != nil
				*to = res
			})
		}
	}
	return f
}

func remember[T any](known map[input.Digest]T, e *input.Entry, read func(*T)) T {
	if v, ok := known[e.Digest]; ok {
		return v
	}
	var v T
	read(&v)
	if len(known) >= readerKeeps {
		clear(known)
	}
	known[e.Digest] = v
	return v
}

// reaches reports whether a mask on a field may change what the request shows.
// What is not known counts as reached. At stage response the fields' sources
// are known.
func (f *facts) reaches(r *corpus.Recorded, field string) bool {
	if strings.HasPrefix(field, "detect:") || !f.res.sql || f.action.Opaque || string(r.Entry("complete")) != "true" {
		return true
	}
	columns := f.res.ColumnNames
	if raw := r.Entry("response"); r.Stage == string(input.StageResponse) && len(raw) > 0 {
		var response struct {
			Fields      []struct{ Derivation string } `json:"fields"`
			SourceNames []string                      `json:"source_names"`
		}
		if json.Unmarshal(raw, &response) != nil || slices.ContainsFunc(response.Fields, func(f struct{ Derivation string }) bool {
			return f.Derivation == string(input.Opaque)
		}) {
			return true
		}
		columns = response.SourceNames
	}
	table := field
	if i := strings.LastIndexByte(field, '.'); i >= 0 {
		table = field[:i]
	}
	return slices.Contains(columns, field) || slices.Contains(columns, table+".*") || slices.Contains(columns, table)
}
