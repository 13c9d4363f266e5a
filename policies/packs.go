package policies

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Pack is one ready pack.
type Pack struct {
	Name        string          `json:"name"`        // area and folder: "postgres/complete"
	Package     string          `json:"package"`     // below regate.policies: "regate.sql_complete"
	Title       string          `json:"title"`       //
	Description string          `json:"description"` //
	Protocols   []string        `json:"protocols"`   // empty: every protocol
	Setting     string          `json:"setting"`     // key below regate.settings: "sql_complete"
	Defaults    json.RawMessage `json:"defaults"`    // of the settings
	Rules       []Rule          `json:"rules"`       // by kind and id
	Roots       []string        `json:"roots"`       // of its bundle
}

// Rule is one thing that a pack can say.
type Rule struct {
	Kind string `json:"kind"` // "allow", "deny", "require_approval", "mask", "limit", "record", "label"
	ID   string `json:"id"`   // "…" stands for what differs
}

// Packs returns all ready packs, by name.
func Packs() ([]Pack, error) {
	found, err := fs.Glob(files, "*/*/policy.rego")
	if err != nil {
		return nil, err
	}
	out := make([]Pack, 0, len(found))
	for _, file := range found {
		p, err := readPack(path.Dir(file))
		if err != nil {
			return nil, fmt.Errorf("pack %s: %w", path.Dir(file), err)
		}
		out = append(out, p)
	}
	return out, nil
}

func readPack(name string) (Pack, error) {
	p := Pack{Name: name, Protocols: []string{}}
	text, err := fs.ReadFile(files, path.Join(name, "policy.rego"))
	if err != nil {
		return p, err
	}
	module, err := ast.ParseModuleWithOpts(name, string(text), ast.ParserOptions{ProcessAnnotation: true, RegoVersion: ast.RegoV1})
	if err != nil {
		return p, err
	}
	p.Package = strings.TrimPrefix(module.Package.Path.String(), "data.regate.policies.")
	_, p.Setting, _ = strings.Cut(p.Package, ".")
	for _, a := range module.Annotations {
		if a.Scope != "package" {
			continue
		}
		p.Title, p.Description = a.Title, strings.TrimSpace(a.Description)
		custom, _ := a.Custom["regate"].(map[string]any)
		list, _ := custom["protocols"].([]any)
		for _, v := range list {
			if s, ok := v.(string); ok {
				p.Protocols = append(p.Protocols, s)
			}
		}
	}
	p.Rules = rules(module)
	var data struct {
		Regate struct {
			Defaults map[string]json.RawMessage `json:"defaults"`
		} `json:"regate"`
	}
	if err := readJSON(path.Join(name, "data.json"), &data); err != nil {
		return p, err
	}
	p.Defaults = data.Regate.Defaults[p.Setting]
	var manifest struct {
		Roots []string `json:"roots"`
	}
	if err := readJSON(path.Join(name, ".manifest"), &manifest); err != nil {
		return p, err
	}
	p.Roots = manifest.Roots
	return p, nil
}

func readJSON(name string, into any) error {
	raw, err := fs.ReadFile(files, name)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

var kinds = []string{"allow", "deny", "require_approval", "mask", "limit", "record", "label"}

// rules lists what the entries of a module say, each once.
func rules(module *ast.Module) []Rule {
	var out []Rule
	for _, r := range module.Rules {
		kind := r.Head.Name.String()
		if !slices.Contains(kinds, kind) || r.Head.Key == nil {
			continue
		}
		id := ""
		ast.WalkTerms(r.Head.Key, func(t *ast.Term) bool {
			obj, ok := t.Value.(ast.Object)
			if !ok || id != "" {
				return id != ""
			}
			if v := obj.Get(ast.StringTerm("id")); v != nil {
				id = idOf(v)
			}
			return false
		})
		if rule := (Rule{kind, id}); id != "" && !slices.Contains(out, rule) {
			out = append(out, rule)
		}
	}
	slices.SortFunc(out, func(a, b Rule) int {
		if a.Kind != b.Kind {
			return slices.Index(kinds, a.Kind) - slices.Index(kinds, b.Kind)
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

// idOf is a string, or the format of a sprintf.
func idOf(t *ast.Term) string {
	if s, ok := t.Value.(ast.String); ok {
		return string(s)
	}
	if call, ok := t.Value.(ast.Call); ok && len(call) > 1 {
		if s, ok := call[1].Value.(ast.String); ok {
			return strings.ReplaceAll(string(s), "%s", "…")
		}
	}
	return ""
}
