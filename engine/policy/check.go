package policy

import (
	"context"
	"io"
	"maps"
	"regexp"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/sirupsen/logrus"
)

// BundleProblem is one reason why a bundle would not be put in force.
type BundleProblem struct {
	Bundle string // configured name
	File   string // of the policy; "" where the problem is not one file's
	Line   int    // 1-based; 0 without a file
	Text   string
}

var placed = regexp.MustCompile(`(?s)^([^\n]+?):(\d+): (.*)$`)

// CheckBundles is Inspect for those who want the problems alone.
func (c Config) CheckBundles(ctx context.Context) []BundleProblem {
	_, problems := c.Inspect(ctx)
	return problems
}

// Inspect loads the local bundles as New would, all checks included. It returns
// what would be in force, by configured name, and why the rest would be refused.
// Nothing is put in force, watched, kept or fetched: remote bundles are left out, so where there are any, a problem may be
// that a local bundle needs one of them. The configuration must be one that
// Check accepts.
func (c Config) Inspect(ctx context.Context) (map[string]BundleRef, []BundleProblem) {
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	e := &Engine{cfg: c, log: quiet, owners: map[string]string{}, bundles: map[string]*BundleStatus{}}
	e.ctx, e.stop = context.WithCancel(ctx)
	defer e.stop()
	newest, err := openSequences(c.Dir)
	if err != nil {
		return nil, []BundleProblem{{Text: err.Error()}}
	}
	e.newest = newest
	refs := map[string]BundleRef{}
	note := func(next *snapshot) {
		maps.Copy(refs, next.bundles)
		e.current.Store(next)
	}
	l := &localBundles{engine: e, store: &gatedStore{Store: inmem.New(), check: e.check, commit: note, closed: e.isClosed}}
	for _, b := range c.Bundles {
		if !b.IsLocal() || b.Shadow {
			continue
		}
		for _, id := range b.ids() {
			e.owners[id] = b.Name
		}
		e.bundles[b.Name] = &BundleStatus{Name: b.Name}
		l.add(b)
	}
	l.load(ctx)
	for _, b := range c.Bundles {
		if b.IsLocal() && b.Shadow {
			e.bundles[b.Name] = &BundleStatus{Name: b.Name, Errors: e.newWorld(b).inspect(ctx, refs)}
		}
	}
	var out []BundleProblem
	for _, b := range c.Bundles {
		if !b.IsLocal() {
			continue
		}
		for _, text := range e.bundles[b.Name].Errors {
			p := BundleProblem{Bundle: b.Name, Text: text}
			if m := placed.FindStringSubmatch(text); m != nil {
				if line, err := strconv.Atoi(m[2]); err == nil {
					p.File, p.Line, p.Text = m[1], line, m[3]
				}
			}
			p.Text = strings.Join(strings.Fields(p.Text), " ") // in one line
			out = append(out, p)
		}
	}
	return refs, out
}
