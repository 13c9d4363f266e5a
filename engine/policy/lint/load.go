package lint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"

	"github.com/regate-dev/regate/engine/policy"
)

const testSuffix = "_test.rego"

// Bounds of what is read. The first two are those of a bundle in the gateway.
const (
	maxBytes = 64 << 20
	maxFiles = 20_000
)

// sources is the Rego that was read.
type sources struct {
	texts   map[string]string // by file, as findings name it
	modules map[string]*ast.Module
	tests   map[string]*ast.Module
	bytes   int64
	// together are the paths that make one deployment: a bundle found below a
	// folder is one of several that may exclude each other.
	together []string
	apart    []string
}

// load reads and parses every file. What cannot be read or parsed is a finding.
func (c *checker) load(paths []string) {
	c.sources = sources{texts: map[string]string{}, modules: map[string]*ast.Module{}, tests: map[string]*ast.Module{}}
	for _, p := range paths {
		p = filepath.Clean(p)
		info, err := os.Stat(p)
		switch {
		case err != nil:
			c.loadError(p, err)
		case info.IsDir():
			c.folder(p)
		case strings.HasSuffix(p, ".tar.gz"), strings.HasSuffix(p, ".tgz"):
			c.archive(p)
		default:
			c.together = append(c.together, p)
			if strings.HasSuffix(p, bundle.RegoExt) {
				c.file(p, p, info)
			}
		}
	}
	for _, name := range sortedKeys(c.texts) {
		m, err := ast.ParseModuleWithOpts(name, c.texts[name], ast.ParserOptions{ProcessAnnotation: true, RegoVersion: ast.RegoV1})
		switch {
		case err != nil:
			c.problems(name, err)
		case m == nil: // an empty file
		case strings.HasSuffix(name, testSuffix):
			c.tests[name] = m
		default:
			c.modules[name] = m
		}
	}
}

func (c *checker) loadError(file string, err error) {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	c.report(Finding{ID: idLoad, File: file, Message: err.Error()})
}

// folder reads the Rego below a folder.
func (c *checker) folder(root string) {
	own := false
	nested := []string{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			c.loadError(p, err)
			if d != nil && d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if p != root && strings.HasPrefix(d.Name(), ".") && d.Name() != bundle.ManifestExt {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if d.Name() == bundle.ManifestExt && !d.IsDir() {
			if dir := filepath.Dir(p); dir == root {
				own = true
			} else {
				nested = append(nested, dir)
			}
		}
		if d.IsDir() || !strings.HasSuffix(d.Name(), bundle.RegoExt) {
			return nil
		}
		info, err := os.Stat(p) // through a link, as the gateway reads a mounted ConfigMap
		if err == nil && d.Type()&fs.ModeSymlink != 0 && !within(root, p) {
			err = errors.New("it is a link out of the folder")
		}
		if err != nil {
			c.loadError(p, err)
			return nil
		}
		c.file(p, p, info)
		return nil
	})
	if err != nil {
		c.loadError(root, err)
	}
	if own || len(nested) == 0 {
		c.together = append(c.together, root)
	} else {
		c.apart = append(c.apart, nested...)
	}
}

func within(root, p string) bool {
	r, err1 := filepath.EvalSymlinks(root)
	to, err2 := filepath.EvalSymlinks(p)
	if err1 != nil || err2 != nil {
		return false
	}
	rel, err := filepath.Rel(r, to)
	return err == nil && filepath.IsLocal(rel)
}

func (c *checker) file(name, p string, info fs.FileInfo) {
	if _, ok := c.texts[name]; ok {
		return // named twice
	}
	c.bytes += info.Size()
	switch {
	case !info.Mode().IsRegular():
		c.loadError(name, errors.New("it is neither a file nor a folder"))
		return
	case c.bytes > maxBytes || len(c.texts) >= maxFiles:
		c.loadError(name, fmt.Errorf("the policies are larger than a bundle may be: %d bytes or %d files", maxBytes, maxFiles))
		return
	}
	raw, err := os.ReadFile(p)
	switch {
	case err != nil:
		c.loadError(name, err)
	case !utf8.Valid(raw):
		c.loadError(name, errors.New("the text is not UTF-8"))
	default:
		c.texts[name] = string(raw)
	}
}

// archive reads a tarball with every bound of the gateway's.
func (c *checker) archive(p string) {
	c.together = append(c.together, p)
	b, err := policy.ReadBundle(p, maxBytes, true)
	if err != nil {
		return // the gateway's own check says so
	}
	for _, m := range b.Modules {
		if utf8.Valid(m.Raw) {
			c.texts[p+"/"+strings.TrimPrefix(m.Path, "/")] = string(m.Raw)
		}
	}
}

// compile compiles as an activation does and reports what that refuses. It
// returns a compiler that holds the compiled rules, or nil where they are not
// good enough to be looked at any further.
func (c *checker) compile(ctx context.Context) (*ast.Compiler, error) {
	strict, err := policy.StrictCompiler()
	if err != nil {
		return nil, err
	}
	strict.Compile(copyModules(c.modules))
	for _, e := range strict.Errors {
		c.problem(e)
	}
	compiler := strict
	if strict.Failed() {
		// Without schemas and strictness there may be enough left to look at.
		compiler = ast.NewCompiler().SetErrorLimit(0)
		compiler.Compile(copyModules(c.modules))
	}
	if !compiler.Failed() {
		for _, p := range policy.CheckPackages(compiler) {
			c.policyProblem(p)
		}
		c.compileTests()
	}
	c.deployment(ctx)
	if compiler.Failed() {
		return nil, nil
	}
	return compiler, nil
}

// compileTests compiles the tests with what they test.
func (c *checker) compileTests() {
	if len(c.tests) == 0 {
		return
	}
	all := copyModules(c.modules)
	for name, m := range c.tests {
		all[name] = m.Copy()
	}
	compiler := ast.NewCompiler().SetErrorLimit(0)
	compiler.Compile(all)
	for _, e := range compiler.Errors {
		if e.Location != nil && strings.HasSuffix(e.Location.File, testSuffix) {
			c.report(Finding{ID: idTest, File: e.Location.File, Line: e.Location.Row, Column: e.Location.Col, Message: errorText(e)})
		}
	}
}

// deployment asks the gateway's own loader for what is not in the Rego: the
// manifest, data, roots that overlap, files that a bundle may not hold.
func (c *checker) deployment(ctx context.Context) {
	if len(c.together) > 0 {
		_, err := policy.LoadSet(ctx, policy.SetOptions{Paths: c.together, DetectKinds: c.DetectKinds})
		var list policy.Problems
		if errors.As(err, &list) {
			for _, p := range list {
				c.again(p)
			}
		} else if err != nil {
			c.report(Finding{ID: idLoad, Message: err.Error()})
		}
	}
	for _, dir := range slices.Compact(slices.Sorted(slices.Values(c.apart))) {
		if _, err := policy.ReadBundle(dir, maxBytes, true); err != nil {
			for line := range strings.Lines(err.Error()) {
				c.again(policy.Problem{File: dir, Text: strings.TrimSpace(line)})
			}
		}
	}
}

func copyModules(modules map[string]*ast.Module) map[string]*ast.Module {
	out := make(map[string]*ast.Module, len(modules))
	for name, m := range modules {
		out[name] = m.Copy()
	}
	return out
}
