package policy

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	opacache "github.com/open-policy-agent/opa/v1/topdown/cache"
)

// Set is policies that were loaded once, for tools: nothing is watched, cached
// or in force. They are read, checked, evaluated and combined by the same code
// as the Engine's. A Set may be used by many goroutines at once.
type Set struct {
	engine   *Engine // configuration, term cache and evaluation; never started
	snapshot *snapshot
	infos    []PackageInfo
	sources  map[string][]byte // of what decides
	tests    map[string]*ast.Module
	refs     map[string]BundleRef
	deep     map[string][][]string // what each package reads, see Reads
	narrow   *sync.Map             // names of packages → *Set; see Ask
}

// SetOptions says what to load. Exactly one of Paths and Bundles is set.
type SetOptions struct {
	// Paths are bundles (folders or .tar.gz, as for `opa test -b`), folders
	// without a manifest, and single .rego, .json and .yaml files. A folder
	// without a manifest that holds bundles stands for all of them. What has no
	// manifest gets the roots that it needs, unless it is the only path, which
	// owns everything, as in the gateway. A path is also its bundle's name.
	Paths []string
	// Bundles are loaded as the gateway would, under their configured names,
	// with several paths each and their signatures verified. All must be local.
	Bundles []Bundle
	// AllowFrom says whose allow counts, as in Config.
	AllowFrom []AllowFrom
	// DetectKinds are the kinds that a mask may name, as in Config.
	DetectKinds []string
	// Timeout bounds one evaluation. 0 means 10 s: a tool may run where the
	// machine is busy.
	Timeout time.Duration
	// EnforceShadow makes shadow packages decide like the others.
	EnforceShadow bool
	// NoIndexing and NoEarlyExit turn off what must make no difference.
	NoIndexing, NoEarlyExit bool
	// SkipTests leaves out modules whose name ends in _test.rego. They never
	// decide; TestModules returns them.
	SkipTests bool
}

const defaultSetTimeout = 10 * time.Second

// PackageInfo describes one policy package.
type PackageInfo struct {
	Name         string   `json:"name"`          // below regate.policies, e.g. "acme.sql"
	Path         string   `json:"path"`          // "data.regate.policies.acme.sql"
	Owner        string   `json:"owner"`         // the first part of the name
	Protocols    []string `json:"protocols"`     // [] means all
	Targets      []string `json:"targets"`       // globs; [] means all
	Mode         string   `json:"mode"`          // enforce or shadow
	BooleanAllow bool     `json:"boolean_allow"` // allow is a complete rule and has no id but its path
	Bundle       string   `json:"bundle"`        // name of the bundle that its first file is of
	Files        []string `json:"files"`         // sorted
}

// LoadSet reads and checks policies. The error is a Problems with everything
// that is wrong; where Paths or Bundles make no sense at all, a plain one.
func LoadSet(ctx context.Context, o SetOptions) (*Set, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("load policies: %w", err)
	}
	o.Bundles = slices.DeleteFunc(slices.Clone(o.Bundles), func(b Bundle) bool { return b.Shadow }) // they decide nothing
	cfg := Config{Timeout: o.Timeout, AllowFrom: o.AllowFrom, DetectKinds: o.DetectKinds, Bundles: o.Bundles}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultSetTimeout
	}
	if err := cfg.Check(); err != nil {
		return nil, fmt.Errorf("load policies: %w", err)
	}
	l, err := readSources(o)
	if err != nil {
		return nil, err
	}
	next, err := build(l.candidate)
	if err != nil {
		return nil, problemsOf("", err)
	}
	next.allowFrom = o.AllowFrom
	next.bundles = l.refs
	if o.EnforceShadow {
		for _, p := range next.packages {
			p.shadow = false
		}
	}
	if next.txn, err = next.store.NewTransaction(ctx); err != nil {
		return nil, fmt.Errorf("load policies: open their data: %w", err)
	}
	s := &Set{
		engine:   &Engine{cfg: cfg, noIndexing: o.NoIndexing, noEarlyExit: o.NoEarlyExit},
		snapshot: next, sources: l.candidate.modules, tests: l.tests, refs: l.refs, deep: map[string][][]string{}, narrow: &sync.Map{},
	}
	s.engine.values = opacache.NewInterQueryValueCache(context.WithoutCancel(ctx), nil)
	s.describe(l.candidate, l.owners)
	return s, nil
}

// describe notes what the packages are and read. owners are the configured names
// of bundles by OPA's.
func (s *Set) describe(c candidate, owners map[string]string) {
	next := s.snapshot
	reads := newDeepReads(next.compiler)
	for _, p := range next.packages {
		info := PackageInfo{
			Name: p.name, Path: p.path.String(), Owner: p.owner, Mode: "enforce", BooleanAllow: p.booleanAllow,
			Protocols: nonNil(slices.Clone(p.protocols)), Targets: nonNil(slices.Clone(p.targets)),
		}
		if p.shadow {
			info.Mode = "shadow"
		}
		for id, m := range next.compiler.Modules {
			if m.Package.Path.Equal(p.path) {
				info.Files = append(info.Files, id)
			}
		}
		slices.Sort(info.Files)
		if id, ok := owningBundle(c.bundles, info.Files[0]); ok {
			info.Bundle = owners[id]
		}
		s.infos = append(s.infos, info)
		s.deep[p.name] = reads.of(next.compiler, p)
	}
}

// Packages lists the policy packages, sorted by name.
func (s *Set) Packages() []PackageInfo { return slices.Clone(s.infos) }

// Compiler returns the compiler that holds the policies, without their tests.
// The caller must not change it.
func (s *Set) Compiler() *ast.Compiler { return s.snapshot.compiler }

// Store returns the bundles' data. Nobody may write to it.
func (s *Set) Store() storage.Store { return s.snapshot.store }

// TestModules returns the modules with tests, parsed, by file. They are not
// compiled. The caller must not change them.
func (s *Set) TestModules() map[string]*ast.Module { return s.tests }

// Bundles names what was loaded: by configured name, or by path.
func (s *Set) Bundles() map[string]BundleRef { return s.refs }

// Reads returns the paths of the input that a package may read, over all its
// rules and all helpers that they reach, sorted. Each stands for all that is
// below it. A key that is known only when it is evaluated is "*"; a path of no
// keys at all means the whole input. pkg is a PackageInfo's Name.
func (s *Set) Reads(pkg string) [][]string { return s.deep[pkg] }
