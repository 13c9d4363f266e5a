package policy

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/util"

	"github.com/regate-dev/regate/engine/input"
)

// candidate is what the store would hold after an activation.
type candidate struct {
	bundles map[string]candidateBundle // by OPA's name for it
	modules map[string][]byte          // by module id: OPA's bundle name, "/", path in the bundle
	data    ast.Object
}

type candidateBundle struct {
	ref      BundleRef
	roots    []string
	sequence *int64 // nil: not ordered
}

// Error codes of the checks that are ours, next to OPA's rego_parse_error,
// rego_type_error and so on.
const (
	codePackage  = "regate_package_error"
	codeMetadata = "regate_metadata_error"
	codeRoots    = "regate_roots_error"
)

// testSuffix ends the names of modules that hold tests.
const testSuffix = "_test.rego"

// policiesRoot is the path of all policy packages.
var policiesRoot = ast.MustParseRef("data.regate.policies")

// build compiles and checks a candidate in full. Every problem is reported, not
// the first alone. The result is not yet numbered or in force.
func build(c candidate) (*snapshot, error) {
	caps := capabilities()
	modules := make(map[string]*ast.Module, len(c.modules))
	var problems ast.Errors
	for _, id := range slices.Sorted(maps.Keys(c.modules)) {
		if strings.HasSuffix(id, testSuffix) {
			continue // tests of a bundle decide nothing
		}
		m, err := ast.ParseModuleWithOpts(id, string(c.modules[id]), ast.ParserOptions{
			ProcessAnnotation: true,
			RegoVersion:       ast.RegoV1,
			Capabilities:      caps,
		})
		if err != nil {
			problems = append(problems, asErrors(err)...)
			continue
		}
		if m == nil { // an empty file
			continue
		}
		modules[id] = m
	}
	if len(problems) > 0 {
		return nil, problems
	}

	compiler, err := StrictCompiler()
	if err != nil {
		return nil, err
	}
	compiler = compiler.WithPathConflictsCheck(func(p []string) (bool, error) { return lookup(c.data, p), nil })
	compiler.Compile(modules)
	problems = append(problems, compiler.Errors...)
	problems = append(problems, checkRoots(c, modules)...)
	packages, bad := findPackages(modules, compiler.GetAnnotationSet())
	problems = append(problems, bad...)
	sensitive, bad := sensitiveFields(c.data)
	problems = append(problems, bad...)
	if len(problems) > 0 {
		return nil, problems
	}

	reads := newReadSets(compiler)
	for _, p := range packages {
		p.reads = reads.of(compiler, p)
	}
	s := &snapshot{
		packages: packages, sensitive: sensitive,
		compiler: compiler,
		store:    inmem.NewFromASTObject(c.data),
	}
	s.plans.Store(&map[planKey]*plan{})
	return s, nil
}

func asErrors(err error) ast.Errors {
	switch e := err.(type) {
	case ast.Errors:
		return e
	case *ast.Error:
		return ast.Errors{e}
	}
	return ast.Errors{ast.NewError(codePackage, nil, "%v", err)}
}

// schemaSet holds the input schema of each protocol as schema.<protocol>, and
// what all have as schema.common. The input of a module that names none is
// checked too.
func schemaSet() (*ast.SchemaSet, error) {
	set := ast.NewSchemaSet()
	var common any
	if err := util.UnmarshalJSON(input.CommonSchema(), &common); err != nil {
		return nil, fmt.Errorf("common schema: %w", err)
	}
	set.Put(ast.SchemaRootRef.Append(ast.StringTerm("common")), common)
	var all []any
	for _, p := range input.Protocols() {
		var schema any
		if err := util.UnmarshalJSON(input.JSONSchema(p), &schema); err != nil {
			return nil, fmt.Errorf("schema of %s: %w", p, err)
		}
		set.Put(ast.SchemaRootRef.Append(ast.StringTerm(string(p))), schema)
		all = append(all, schema)
	}
	if len(all) == 1 {
		set.Put(ast.SchemaRootRef, all[0])
	} else {
		set.Put(ast.SchemaRootRef, map[string]any{"anyOf": all})
	}
	return set, nil
}

// lookup reports whether data holds a value at path, or at a prefix of it
// something that is not an object.
func lookup(data ast.Object, path []string) bool {
	var v ast.Value = data
	for _, key := range path {
		obj, ok := v.(ast.Object)
		if !ok {
			return true
		}
		t := obj.Get(ast.StringTerm(key))
		if t == nil {
			return false
		}
		v = t.Value
	}
	return true
}

// checkRoots holds every module to the roots of the bundle that it came from.
// OPA checks that when it reads a bundle; this also covers a module whose path
// leads it into another bundle's place.
func checkRoots(c candidate, modules map[string]*ast.Module) ast.Errors {
	var problems ast.Errors
	for _, name := range slices.Sorted(maps.Keys(c.bundles)) {
		for _, root := range c.bundles[name].roots {
			if underRoot(strings.Trim(root, "/"), "system") {
				problems = append(problems, ast.NewError(codeRoots, nil, "bundle %s: root %q is where OPA keeps what it knows of bundles", name, root))
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(modules)) {
		name, ok := owningBundle(c.bundles, id)
		if !ok {
			problems = append(problems, ast.NewError(codeRoots, modules[id].Package.Location, "module belongs to no bundle"))
			continue
		}
		pkg, err := modules[id].Package.Path.Ptr()
		if err != nil {
			problems = append(problems, ast.NewError(codeRoots, modules[id].Package.Location, "package path: %v", err))
			continue
		}
		if !slices.ContainsFunc(c.bundles[name].roots, func(root string) bool { return underRoot(pkg, root) }) {
			problems = append(problems, ast.NewError(codeRoots, modules[id].Package.Location,
				"package %s is outside the roots of its bundle: %s", modules[id].Package.Path, strings.Join(c.bundles[name].roots, ", ")))
		}
	}
	return problems
}

// owningBundle finds the bundle whose name is the longest prefix of the
// module's id.
func owningBundle(bundles map[string]candidateBundle, id string) (string, bool) {
	best, found := "", false
	for name := range bundles {
		if strings.HasPrefix(id, name+"/") && len(name) >= len(best) {
			best, found = name, true
		}
	}
	return best, found
}

// underRoot compares slash-separated paths by segments.
func underRoot(p, root string) bool {
	root = strings.Trim(root, "/")
	return root == "" || p == root || strings.HasPrefix(p, root+"/")
}

// findPackages returns the policy packages of the modules, sorted by name.
func findPackages(modules map[string]*ast.Module, annotations *ast.AnnotationSet) ([]*pkg, ast.Errors) {
	byName := map[string]*pkg{}
	locations := map[string]*ast.Location{}
	var problems ast.Errors
	for _, id := range slices.Sorted(maps.Keys(modules)) {
		m := modules[id]
		if !m.Package.Path.HasPrefix(policiesRoot) {
			continue
		}
		name, err := packageName(m.Package.Path)
		if err != nil {
			problems = append(problems, ast.NewError(codePackage, m.Package.Location, "%v", err))
			continue
		}
		p := byName[name]
		if p == nil {
			owner, _, _ := strings.Cut(name, ".")
			p = &pkg{name: name, owner: owner, path: m.Package.Path, file: id}
			if annotations != nil {
				if a := annotations.GetPackageScope(m.Package); a != nil {
					problems = append(problems, p.configure(a)...)
				}
			}
			byName[name] = p
			locations[name] = m.Package.Location
		}
		for _, r := range m.Rules {
			problems = append(problems, p.addRule(r)...)
		}
	}
	packages := make([]*pkg, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		p := byName[name]
		if p.entries == 0 {
			problems = append(problems, ast.NewError(codePackage, locations[name],
				"package %s has none of the rules %s; helpers belong outside data.regate.policies", p.path, strings.Join(entryNames[:], ", ")))
		}
		packages = append(packages, p)
	}
	return packages, problems
}

// packageName returns the path below data.regate.policies with dots.
func packageName(p ast.Ref) (string, error) {
	var parts []string
	for _, t := range p[len(policiesRoot):] {
		s, ok := t.Value.(ast.String)
		if !ok || s == "" || strings.ContainsAny(string(s), "./*") {
			return "", fmt.Errorf("package %s: a name has a dot, a slash or an asterisk", p)
		}
		parts = append(parts, string(s))
	}
	if len(parts) < 2 {
		return "", fmt.Errorf("package %s: want regate.policies.<owner>.<name>", p)
	}
	return strings.Join(parts, "."), nil
}

// addRule notes an entry. Rules with other names are helpers.
func (p *pkg) addRule(r *ast.Rule) ast.Errors {
	ref := r.Head.Ref()
	if len(ref) == 0 {
		return nil
	}
	name := ""
	switch v := ref[0].Value.(type) {
	case ast.Var:
		name = string(v)
	case ast.String:
		name = string(v)
	}
	e := entry(slices.Index(entryNames[:], name))
	if e < 0 {
		return nil
	}
	complete := r.Head.RuleKind() == ast.SingleValue
	if len(ref) != 1 || len(r.Head.Args) > 0 || complete && e != entryAllow {
		return ast.Errors{ast.NewError(codePackage, r.Location, "%s must be a set: write `%s contains {\"id\": …} if …`", name, name)}
	}
	p.entries |= 1 << e
	if complete {
		p.booleanAllow = true
	}
	return nil
}

// configure reads custom.regate of the package's METADATA.
func (p *pkg) configure(a *ast.Annotations) ast.Errors {
	raw, ok := a.Custom["regate"]
	if !ok {
		return nil
	}
	var problems ast.Errors
	bad := func(format string, args ...any) {
		problems = append(problems, ast.NewError(codeMetadata, a.Location, "custom.regate: "+format, args...))
	}
	custom, ok := raw.(map[string]any)
	if !ok {
		bad("want an object with protocols, mode and targets")
		return problems
	}
	list := func(key string) []string {
		values, ok := custom[key].([]any)
		if !ok || len(values) == 0 {
			bad("%s: want a list of at least one string", key)
			return nil
		}
		var out []string
		for _, v := range values {
			s, ok := v.(string)
			if !ok || s == "" {
				bad("%s: want a list of strings", key)
				return nil
			}
			out = append(out, s)
		}
		return sortedSet(out)
	}
	for _, key := range slices.Sorted(maps.Keys(custom)) {
		switch key {
		case "protocols":
			p.protocols = list(key)
			for _, name := range p.protocols {
				if !slices.Contains(input.Protocols(), input.Protocol(name)) {
					bad("protocols: %q is not known, want one of %v", name, input.Protocols())
				}
			}
		case "targets":
			p.targets = list(key)
			for _, pattern := range p.targets {
				if _, err := path.Match(pattern, ""); err != nil {
					bad("targets: %q: %v", pattern, err)
				}
			}
		case "mode":
			switch custom[key] {
			case "enforce":
			case "shadow":
				p.shadow = true
			default:
				bad("mode: %v is not enforce or shadow", custom[key])
			}
		default:
			bad("unknown key %q, want protocols, mode or targets", key)
		}
	}
	return problems
}
