package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// maxFile bounds the configuration file.
const maxFile = 1 << 20

// Options says where the configuration comes from.
type Options struct {
	File  string         // YAML file; empty: environment and flags only
	Env   []string       // "NAME=value", as os.Environ gives them
	Flags *pflag.FlagSet // flags made by RegisterFlags; nil: none

	// SkipSecrets leaves env: and file: references unresolved and does not
	// look for files, for checking a configuration on another machine than
	// the one that runs it.
	SkipSecrets bool
}

// Load reads the configuration and reports every problem at once, sorted by
// file and line. The Config is never nil, but it may be used to run a gateway
// only if no problem is an Error.
func Load(o Options) (*Config, []Problem) {
	d := &decoder{
		file:    o.File,
		dir:     filepath.Dir(o.File),
		env:     envLookup(o.Env),
		origins: make(map[string]origin),
		changed: make(map[string]bool),
		skip:    o.SkipSecrets,
	}
	cfg := new(Config)
	setDefaults(reflect.ValueOf(cfg).Elem())
	if o.File != "" {
		if root := d.read(); root != nil {
			d.document(root, cfg)
		}
	}
	unread := HasErrors(d.problems) && len(d.origins) == 0
	d.overlay(cfg, o)
	cfg.origins, cfg.file = d.origins, o.File
	if unread {
		return cfg, d.problems // whatever else is missing stands in the file that could not be read
	}

	c := &checker{cfg: cfg, decoder: d}
	c.fill()
	c.check()
	sortProblems(d.problems)
	return cfg, d.problems
}

// read parses the file into its root node.
func (d *decoder) read() *yaml.Node {
	f, err := os.Open(d.file)
	if err != nil {
		d.report(Problem{File: d.file, ID: IDFileMissing, Msg: cause(err), Severity: Error})
		return nil
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil {
		d.shared = st.Mode().Perm()&0o044 != 0
	}
	b, err := readLimited(f, maxFile)
	if err != nil {
		d.report(Problem{File: d.file, ID: IDSyntax, Msg: cause(err), Severity: Error})
		return nil
	}
	dec := yaml.NewDecoder(strings.NewReader(string(b)))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if err.Error() == "EOF" {
			return nil // an empty file is an empty configuration
		}
		d.syntax(err)
		return nil
	}
	if err := dec.Decode(&second); err == nil {
		d.report(Problem{
			File: d.file, Line: second.Line, ID: IDSyntax, Severity: Error,
			Msg: "a second YAML document", Fix: "put everything into one document",
		})
	} else if err.Error() != "EOF" {
		d.syntax(err)
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil
	}
	return doc.Content[0]
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

func (d *decoder) syntax(err error) {
	p := Problem{File: d.file, ID: IDSyntax, Severity: Error, Msg: err.Error()}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		p.Line, _ = strconv.Atoi(m[1])
		p.Msg = "not valid YAML: " + m[2]
	}
	d.report(p)
}

func (d *decoder) document(root *yaml.Node, cfg *Config) {
	if root.Kind != yaml.MappingNode {
		if root.Tag == "!!null" {
			return
		}
		d.report(Problem{
			File: d.file, Line: root.Line, ID: IDSyntax, Severity: Error,
			Msg: "the file must be one mapping of settings, not " + describe(root),
		})
		return
	}
	d.value("", root, reflect.ValueOf(cfg).Elem(), "")
}

func envLookup(env []string) func(string) (string, bool) {
	m := make(map[string]string, len(env))
	for _, kv := range env {
		if k, v, ok := strings.Cut(kv, "="); ok {
			m[k] = v
		}
	}
	return func(k string) (string, bool) { v, ok := m[k]; return v, ok }
}

// cause is the part of a file error that is not the path and the operation:
// the place is printed by Problem already.
func cause(err error) string {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return fmt.Sprintf("%s: %v", pe.Path, pe.Err)
	}
	return err.Error()
}
