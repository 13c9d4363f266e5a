package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/util"
)

// sources is what the options of a Set name, read and put together.
type sources struct {
	candidate candidate
	owners    map[string]string // OPA's name of a bundle → configured name
	tests     map[string]*ast.Module
	refs      map[string]BundleRef

	data     map[string]any
	problems Problems
	loose    map[string]bool // bundles that have no manifest: their roots are made
}

// readSources reads everything and reports every problem of reading.
func readSources(o SetOptions) (*sources, error) {
	if (len(o.Paths) == 0) == (len(o.Bundles) == 0) {
		return nil, errors.New("load policies: want paths or bundles, and not both")
	}
	l := &sources{
		candidate: candidate{bundles: map[string]candidateBundle{}, modules: map[string][]byte{}},
		owners:    map[string]string{}, tests: map[string]*ast.Module{}, refs: map[string]BundleRef{},
		data: map[string]any{}, loose: map[string]bool{},
	}
	order := map[string][]string{} // configured name → OPA's names
	if len(o.Bundles) > 0 {
		for _, b := range o.Bundles {
			if !b.IsLocal() {
				return nil, fmt.Errorf("load policies: bundle %q is not on this machine", b.Name)
			}
			group := &localBundles{}
			group.add(b)
			for _, s := range group.sources {
				// Problems name files, so the file's path is the bundle's name.
				s.id = s.path
				s.keepTests = !o.SkipTests
				l.bundle(s, b.Name, false)
				order[b.Name] = append(order[b.Name], s.id)
			}
		}
	} else {
		l.paths(o, order)
	}
	if len(l.problems) > 0 {
		return nil, l.problems
	}
	l.checkOverlap()
	if len(l.problems) > 0 {
		return nil, l.problems
	}
	value, err := ast.InterfaceToValue(l.data)
	if err != nil {
		return nil, fmt.Errorf("load policies: data: %w", err)
	}
	l.candidate.data = value.(ast.Object)
	for name, b := range l.candidate.bundles {
		digest, err := contentDigest(l.candidate, name, b, l.data)
		if err != nil {
			return nil, fmt.Errorf("load policies: digest of %s: %w", name, err)
		}
		b.ref.Digest = digest
		l.candidate.bundles[name] = b
	}
	for name, ids := range order {
		slices.Sort(ids)
		if len(o.Bundles) > 0 { // in the order of the paths, as the gateway
			ids = configuredOrder(o.Bundles, name)
		}
		var refs []BundleRef
		for _, id := range slices.Compact(ids) {
			refs = append(refs, l.candidate.bundles[id].ref)
		}
		l.refs[name] = joinRefs(refs)
	}
	return l, nil
}

func configuredOrder(bundles []Bundle, name string) []string {
	var out []string
	for _, b := range bundles {
		if b.Name == name {
			for _, p := range b.localPaths() {
				out = append(out, filepath.Clean(p))
			}
		}
	}
	return out
}

// paths reads paths that are not configured as bundles.
func (l *sources) paths(o SetOptions, order map[string][]string) {
	var folders, files []string
	for _, p := range o.Paths {
		p = filepath.Clean(strings.TrimPrefix(p, "file://"))
		info, err := os.Stat(p)
		switch {
		case err != nil:
			l.problems = append(l.problems, problemsOf(p, err)...)
		case info.IsDir():
			bundles, err := bundlesBelow(p)
			l.problems = append(l.problems, problemsOf(p, err)...)
			folders = append(folders, bundles...)
		case isArchive(p):
			folders = append(folders, p)
		default:
			files = append(files, p)
		}
	}
	slices.Sort(folders)
	folders = slices.Compact(folders)
	alone := len(folders) == 1 && len(files) == 0
	for _, p := range folders {
		s := &localSource{bundle: p, id: p, path: p, limit: defaultMaxBytes, keepTests: !o.SkipTests}
		l.bundle(s, p, !alone)
		order[p] = []string{p}
	}
	for _, p := range files {
		if slices.ContainsFunc(folders, func(f string) bool { return strings.HasPrefix(p, f+string(filepath.Separator)) }) {
			continue // of a bundle that is loaded
		}
		id := l.file(p, !o.SkipTests)
		order[id] = []string{id}
	}
}

func isArchive(p string) bool { return strings.HasSuffix(p, ".tar.gz") || strings.HasSuffix(p, ".tgz") }

// bundlesBelow returns the folder itself, or, where it has no manifest and
// folders in it have, those.
func bundlesBelow(root string) ([]string, error) {
	if _, err := os.Stat(filepath.Join(root, bundle.ManifestExt)); err == nil {
		return []string{root}, nil
	}
	var found []string
	outside := false // of every bundle there is Rego
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if p != root && hidden(d.Name()) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			if _, err := os.Stat(filepath.Join(p, bundle.ManifestExt)); err == nil {
				found = append(found, p)
				return filepath.SkipDir
			}
			return nil
		}
		outside = outside || strings.HasSuffix(d.Name(), bundle.RegoExt)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return []string{root}, nil
	}
	if outside {
		return nil, fmt.Errorf("the folder holds both bundles (%s, …) and Rego outside of them: name what to load", found[0])
	}
	return found, nil
}

// bundle reads one bundle. makeRoots gives it those that it needs when its
// manifest says nothing of them.
func (l *sources) bundle(s *localSource, configured string, makeRoots bool) {
	if _, ok := l.candidate.bundles[s.id]; ok {
		l.problems = append(l.problems, Problem{File: s.path, Code: codeRoots, Text: "the path is named twice"})
		return
	}
	b, _, err := s.read()
	if err != nil {
		l.problems = append(l.problems, problemsOf(s.path, err)...)
		return
	}
	if b.Type() == bundle.DeltaBundleType {
		l.problems = append(l.problems, Problem{File: s.path, Text: "a delta bundle changes another bundle and is none by itself"})
		return
	}
	roots := []string{""}
	if b.Manifest.Roots != nil {
		roots = *b.Manifest.Roots
	}
	for _, m := range b.Modules {
		l.candidate.modules[s.module(m.Path)] = m.Raw
	}
	if makeRoots && slices.Equal(roots, []string{""}) {
		l.loose[s.id] = true
		roots = dataRoots(b.Data, "")
		for _, m := range b.Modules {
			if m.Parsed == nil { // an empty file
				continue
			}
			if root, err := m.Parsed.Package.Path.Ptr(); err == nil {
				roots = append(roots, root)
			}
		}
		roots = sortedSet(roots)
	}
	for _, m := range s.tests {
		l.test(s.module(m.Path), m.Raw)
	}
	l.candidate.bundles[s.id] = candidateBundle{ref: BundleRef{Revision: b.Manifest.Revision}, roots: roots}
	l.owners[s.id] = configured
	if err := mergeData(l.data, b.Data, ""); err != nil {
		l.problems = append(l.problems, problemsOf(s.path, err)...)
	}
}

// file reads a single file as part of a bundle that is its folder.
func (l *sources) file(p string, tests bool) string {
	id := filepath.Dir(p)
	name := id + "/" + filepath.Base(p)
	b := l.candidate.bundles[id]
	fail := func(err error) string {
		l.problems = append(l.problems, problemsOf(p, err)...)
		return id
	}
	info, err := os.Stat(p)
	if err == nil && info.Size() > defaultMaxBytes {
		err = fmt.Errorf("%w: %d bytes", errTooLarge, info.Size())
	}
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("neither a file nor a folder")
	}
	if err != nil {
		return fail(err)
	}
	raw, err := os.ReadFile(p)
	if err != nil {
		return fail(err)
	}
	switch {
	case strings.HasSuffix(p, testSuffix):
		if tests {
			l.test(name, raw)
		}
	case strings.HasSuffix(p, bundle.RegoExt):
		m, err := ast.ParseModuleWithOpts(name, string(raw), ast.ParserOptions{RegoVersion: ast.RegoV1})
		if err != nil {
			return fail(err)
		}
		l.candidate.modules[name] = raw
		if m == nil { // an empty file
			break
		}
		if root, err := m.Package.Path.Ptr(); err == nil {
			b.roots = append(b.roots, root)
		}
	case slices.Contains([]string{".json", ".yaml", ".yml"}, filepath.Ext(p)):
		var data map[string]any
		if err := util.Unmarshal(raw, &data); err != nil {
			return fail(fmt.Errorf("data: %w", err))
		}
		if err := mergeData(l.data, data, ""); err != nil {
			return fail(err)
		}
		b.roots = append(b.roots, dataRoots(data, "")...)
	default:
		return fail(errors.New("want a folder, a .tar.gz, or a .rego, .json or .yaml file"))
	}
	b.roots = sortedSet(b.roots)
	l.candidate.bundles[id] = b
	l.owners[id], l.loose[id] = id, true
	return id
}

// test parses a module of tests.
func (l *sources) test(id string, raw []byte) {
	m, err := ast.ParseModuleWithOpts(id, string(raw), ast.ParserOptions{ProcessAnnotation: true, RegoVersion: ast.RegoV1})
	if err != nil {
		l.problems = append(l.problems, problemsOf(id, err)...)
		return
	}
	if m != nil {
		l.tests[id] = m
	}
}

// dataRoots returns the paths of values that are not objects.
func dataRoots(data map[string]any, prefix string) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(data)) {
		if below, ok := data[key].(map[string]any); ok && len(below) > 0 {
			out = append(out, dataRoots(below, prefix+key+"/")...)
		} else {
			out = append(out, prefix+key)
		}
	}
	return out
}

// mergeData adds data of one source to that of all.
func mergeData(into, from map[string]any, prefix string) error {
	for key, v := range from {
		old, exists := into[key]
		if !exists {
			if obj, ok := v.(map[string]any); ok { // not shared: it may be merged into
				mine := map[string]any{}
				into[key] = mine
				if err := mergeData(mine, obj, prefix+key+"."); err != nil {
					return err
				}
				continue
			}
			into[key] = v
			continue
		}
		a, okA := old.(map[string]any)
		b, okB := v.(map[string]any)
		if !okA || !okB {
			return fmt.Errorf("data.%s%s is in two places", prefix, key)
		}
		if err := mergeData(a, b, prefix+key+"."); err != nil {
			return err
		}
	}
	return nil
}

// checkOverlap refuses two bundles that own the same place, as activation does.
func (l *sources) checkOverlap() {
	names := slices.Sorted(maps.Keys(l.candidate.bundles))
	for i, a := range names {
		for _, b := range names[i+1:] {
			if l.loose[a] && l.loose[b] {
				continue
			}
			for _, ra := range l.candidate.bundles[a].roots {
				for _, rb := range l.candidate.bundles[b].roots {
					if underRoot(strings.Trim(ra, "/"), rb) || underRoot(strings.Trim(rb, "/"), ra) {
						l.problems = append(l.problems, Problem{File: a, Code: codeRoots, Text: fmt.Sprintf("root %q overlaps with root %q of %s", ra, rb, b)})
					}
				}
			}
		}
	}
}
