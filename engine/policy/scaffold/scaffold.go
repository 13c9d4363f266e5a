package scaffold

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"text/template"

	"github.com/open-policy-agent/opa/v1/format"
	"github.com/open-policy-agent/opa/v1/version"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/policy"
)

//go:embed templates
var templates embed.FS

// Options say what bundle is made.
type Options struct {
	Protocols []input.Protocol // at least one, each once
	Owner     string           // the first part of every package; "acme"
	// Name is the package's own name. "" is the protocol's: sql, kubernetes,
	// http, mcp. With several protocols theirs is added to it.
	Name string
	// Folder is what the README calls the bundle's folder.
	Folder string
}

// File is one file of a bundle.
type File struct {
	Path string // relative, with slashes
	Data []byte
}

// Commands are what checks a bundle in its own folder, with stock opa.
var commands = []string{
	"opa fmt --list --fail .",
	"opa check --bundle . --strict --schema schemas --capabilities capabilities.json",
	"opa test --bundle . --fail-on-empty --schema schemas --capabilities capabilities.json",
	"opa test --bundle . --coverage --threshold 100",
}

// Commands are the commands with which a bundle is checked in its own folder,
// by stock opa. The workflows run them.
func Commands() []string { return slices.Clone(commands) }

// says is what a template's policy says, in one line.
var says = map[input.Protocol]string{
	input.HTTP:       "callers read from known hosts; what writes waits for a person",
	input.Kubernetes: "viewers look at what is listed, not at Secrets; changes wait for a person",
	input.MCP:        "approved tools may be called; what writes waits for a person",
	input.Postgres:   "analysts read; changes of rows wait for a person; e-mail addresses are masked",
}

// defaultNames are the packages' own names.
var defaultNames = map[input.Protocol]string{
	input.HTTP: "http", input.Kubernetes: "kubernetes", input.MCP: "mcp", input.Postgres: "sql",
}

// part is one policy package of a bundle.
type part struct {
	Protocol input.Protocol
	Dir      string // folder, with slashes
	Name     string // last part of the package
	Package  string // below regate.policies
	Says     string
	Example  string // the example document as Rego
}

// bundle is what templates see.
type bundle struct {
	Owner, Folder, OPA string
	Commands           []string
	Parts              []part
}

// Bundle returns the files of a bundle, sorted by path. It passes every check
// as it is.
func Bundle(o Options) ([]File, error) {
	parts, err := o.parts()
	if err != nil {
		return nil, err
	}
	b := bundle{Owner: o.Owner, Folder: o.Folder, OPA: version.Version, Commands: commands, Parts: parts}
	if b.Folder == "" {
		b.Folder = "."
	}
	capabilities, err := policy.CapabilitiesJSON()
	if err != nil {
		return nil, err
	}
	files := []File{{"capabilities.json", capabilities}}
	roots := []string{}
	for i := range parts {
		made, err := parts[i].files()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", parts[i].Protocol, err)
		}
		files = append(files, made...)
		root := "regate/policies/" + strings.ReplaceAll(parts[i].Package, ".", "/")
		roots = append(roots, root, root+"_test")
	}
	manifest, err := indented(map[string]any{"revision": "1", "roots": roots})
	if err != nil {
		return nil, err
	}
	settings, err := indented(vscode(parts))
	if err != nil {
		return nil, err
	}
	files = append(files, File{".manifest", manifest}, File{".vscode/settings.json", settings})
	for to, from := range map[string]string{
		"README.md": "README.md", ".github/workflows/policy.yml": "github.yml", ".gitlab-ci.yml": "gitlab.yml",
		".regal/config.yaml": "regal.yaml", ".vscode/extensions.json": "extensions.json",
	} {
		data, err := execute("bundle/"+from, b)
		if err != nil {
			return nil, err
		}
		files = append(files, File{to, data})
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return files, nil
}

// parts checks the options.
func (o Options) parts() ([]part, error) {
	if len(o.Protocols) == 0 {
		return nil, errors.New("no protocol is named")
	}
	if err := checkName("owner", o.Owner); err != nil {
		return nil, err
	}
	if o.Name != "" {
		if err := checkName("name", o.Name); err != nil {
			return nil, err
		}
	}
	seen := map[input.Protocol]bool{}
	var parts []part
	for _, p := range o.Protocols {
		name := defaultNames[p]
		if name == "" || input.JSONSchema(p) == nil {
			return nil, fmt.Errorf("unknown protocol %q: %s", p, strings.Join(protocolNames(), ", "))
		}
		if seen[p] {
			return nil, fmt.Errorf("protocol %s is named twice", p)
		}
		seen[p] = true
		switch {
		case o.Name != "" && len(o.Protocols) == 1:
			name = o.Name
		case o.Name != "":
			name = o.Name + "_" + name
		}
		parts = append(parts, part{Protocol: p, Dir: name, Name: name, Package: o.Owner + "." + name, Says: says[p]})
	}
	return parts, nil
}

func protocolNames() []string {
	var names []string
	for _, p := range input.Protocols() {
		names = append(names, string(p))
	}
	return names
}

// taken are names that an owner or a package may not have: folders of the
// bundle itself, and what the gateway's own policies and data are called.
var taken = []string{"schemas", "regate", "lib", "settings", "defaults"}

func checkName(what, name string) error {
	if strings.Contains(name, ".") || len(name) > maxName || checkPackage(name) != nil {
		return fmt.Errorf("%s %q is no name: lower-case letters, digits and _, at most %d, beginning with a letter", what, name, maxName)
	}
	if slices.Contains(taken, name) || strings.HasSuffix(name, "_test") {
		return fmt.Errorf("%s %q is taken: choose another", what, name)
	}
	return nil
}

// files are those of one package.
func (p *part) files() ([]File, error) {
	example, err := Example(p.Protocol)
	if err != nil {
		return nil, err
	}
	var rego bytes.Buffer
	if err := indent(&rego, example); err != nil {
		return nil, err
	}
	p.Example = rego.String()
	pretty, err := indented(json.RawMessage(example))
	if err != nil {
		return nil, err
	}
	files := []File{
		{"schemas/" + string(p.Protocol) + ".json", input.JSONSchema(p.Protocol)},
		{path.Join(p.Dir, "input.json"), pretty},
	}
	for _, name := range []string{"policy.rego", "policy_test.rego"} {
		source, err := execute(string(p.Protocol)+"/"+name, p)
		if err != nil {
			return nil, err
		}
		// Long names change how lines are broken.
		source, err = format.SourceWithOpts(name, source, format.Opts{})
		if err != nil {
			return nil, fmt.Errorf("format %s: %w", name, err)
		}
		files = append(files, File{path.Join(p.Dir, name), source})
	}
	return files, nil
}

// vscode are settings of VS Code: opa checks on save against the schemas, and
// the examples show what every field means.
func vscode(parts []part) map[string]any {
	var schemas []map[string]any
	for _, p := range parts {
		schemas = append(schemas, map[string]any{"fileMatch": []string{"/" + p.Dir + "/input.json"}, "url": "./schemas/" + string(p.Protocol) + ".json"})
	}
	return map[string]any{
		"opa.bundleMode": true, "opa.checkOnSave": true, "opa.strictMode": true,
		"opa.roots": []string{"${workspaceFolder}"}, "opa.schema": "${workspaceFolder}/schemas",
		"json.schemas": schemas,
	}
}

func execute(name string, data any) ([]byte, error) {
	source, err := templates.ReadFile("templates/" + name)
	if err != nil {
		return nil, err
	}
	t, err := template.New(name).Delims("<<", ">>").Parse(string(source))
	if err != nil {
		return nil, fmt.Errorf("template %s: %w", name, err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return nil, fmt.Errorf("template %s: %w", name, err)
	}
	return append(bytes.TrimRight(b.Bytes(), "\n"), '\n'), nil
}

func indented(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
