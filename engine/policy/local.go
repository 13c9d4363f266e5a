package policy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	opametrics "github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/plugins"
	"github.com/open-policy-agent/opa/v1/storage"
)

// settle is how long a folder must be quiet before it is read again: editors
// and deployments change several files at once.
const settle = 150 * time.Millisecond

// localBundles are the folders and tarballs on this machine. OPA's plugin reads
// a file:// source once and never again, so they are read here, with OPA's own
// reader, and activated as one transaction.
type localBundles struct {
	engine *Engine
	store  storage.Store

	mu      sync.Mutex
	sources []*localSource
	watcher *fsnotify.Watcher
}

// localSource is one path of one bundle.
type localSource struct {
	bundle string // configured name
	id     string // OPA's
	path   string
	limit  int64
	verify *bundle.VerificationConfig // nil: not demanded

	keepTests bool                // for tools that run them
	tests     []bundle.ModuleFile // of the last read

	active [sha256.Size]byte // content in force
}

func (l *localBundles) add(b Bundle) {
	for i, id := range b.ids() {
		s := &localSource{bundle: b.Name, id: id, path: filepath.Clean(b.localPaths()[i]), limit: b.maxBytes()}
		if b.Signing != nil {
			key := &bundle.KeyConfig{Key: b.Signing.PublicKey, Algorithm: b.Signing.Algorithm, Scope: b.Signing.Scope}
			if key.Algorithm == "" {
				key.Algorithm = "RS256"
			}
			s.verify = bundle.NewVerificationConfig(map[string]*bundle.KeyConfig{b.Signing.KeyID: key}, b.Signing.KeyID, b.Signing.Scope, nil)
		}
		l.sources = append(l.sources, s)
	}
}

// fresh is a bundle that was read and differs from what is in force.
type fresh struct {
	source *localSource
	bundle *bundle.Bundle
	sum    [sha256.Size]byte
}

// load reads every path and activates what changed, all at once. Where that
// fails, bundle by bundle, so that one that is broken does not hold up the
// others; several rounds, as they may need each other.
func (l *localBundles) load(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	problems := map[string][]string{}
	changed := map[string][]fresh{}
	for _, s := range l.sources {
		problems[s.bundle] = append(problems[s.bundle], []string{}...)
		b, sum, err := s.read()
		if err != nil {
			problems[s.bundle] = append(problems[s.bundle], l.explain(fmt.Errorf("%s: %w", s.path, err))...)
			continue
		}
		if sum != s.active {
			changed[s.bundle] = append(changed[s.bundle], fresh{s, b, sum})
		}
	}
	for name, list := range problems {
		if len(list) > 0 { // a part of it is unreadable: all of it stays as it is
			delete(changed, name)
		}
	}

	if len(changed) > 0 && l.activate(ctx, slices.Concat(slices.Collect(maps.Values(changed))...)) != nil {
		for pending := slices.Sorted(maps.Keys(changed)); len(pending) > 0; {
			left := slices.DeleteFunc(slices.Clone(pending), func(name string) bool {
				err := l.activate(ctx, changed[name])
				problems[name] = l.explain(err)
				return err == nil
			})
			if len(left) == len(pending) {
				break
			}
			pending = left
		}
	}
	for name, list := range problems {
		l.engine.loaded(name, list)
		for _, p := range list {
			l.engine.log.WithField("bundle", name).Error("policies refused: " + p)
		}
	}
}

// activate puts bundles into the store as one transaction, whose commit runs
// every check.
func (l *localBundles) activate(ctx context.Context, list []fresh) error {
	bundles := make(map[string]*bundle.Bundle, len(list))
	for _, f := range list {
		bundles[f.source.id] = f.bundle
	}
	params := storage.WriteParams
	params.Context = storage.NewContext()
	err := storage.Txn(ctx, l.store, params, func(txn storage.Transaction) error {
		compiler := ast.NewCompiler().WithPathConflictsCheck(storage.NonEmpty(ctx, l.store, txn))
		err := bundle.Activate(&bundle.ActivateOpts{
			Ctx: ctx, Store: l.store, Txn: txn, TxnCtx: params.Context, Compiler: compiler,
			Metrics: opametrics.New(), Bundles: bundles,
			ParserOptions: ast.ParserOptions{ProcessAnnotation: true, RegoVersion: ast.RegoV1},
		})
		plugins.SetCompilerOnContext(params.Context, compiler)
		return err
	})
	if err != nil {
		return err
	}
	for _, f := range list {
		f.source.active = f.sum
	}
	return nil
}

// explain lists an error's problems, with the paths of this machine in place of
// OPA's names.
func (l *localBundles) explain(err error) []string {
	list := problemList(err)
	for i := range list {
		for _, s := range l.sources {
			list[i] = strings.ReplaceAll(list[i], s.id+"/", strings.TrimSuffix(s.path, "/")+"/")
			if s.id != s.bundle { // <bundle>/<number>, nobody's own word
				list[i] = strings.ReplaceAll(list[i], s.id, s.path)
			}
		}
	}
	return list
}

// read loads the path and returns the digest of what it holds.
func (s *localSource) read() (*bundle.Bundle, [sha256.Size]byte, error) {
	var sum [sha256.Size]byte
	info, err := os.Stat(s.path)
	if err != nil {
		return nil, sum, err
	}
	var loader bundle.DirectoryLoader
	if info.IsDir() {
		if err := checkFolder(s.path, s.limit); err != nil {
			return nil, sum, err
		}
		// A test that is only being written must not hold up what decides. A
		// signature is over tests too.
		skipTests := !s.keepTests && s.verify == nil
		loader = bundle.NewDirectoryLoader(s.path).WithFollowSymlinks(true).WithFilter(func(p string, info os.FileInfo, _ int) bool {
			return filepath.Clean(p) != s.path && hidden(filepath.Base(p)) ||
				skipTests && !info.IsDir() && strings.HasSuffix(p, testSuffix)
		})
	} else {
		if !info.Mode().IsRegular() { // a pipe without a writer would hold it up for ever
			return nil, sum, errors.New("neither a file nor a folder")
		}
		if info.Size() > s.limit {
			return nil, sum, fmt.Errorf("%w: %d bytes packed, more than %d", errTooLarge, info.Size(), s.limit)
		}
		raw, err := os.ReadFile(s.path)
		if err != nil {
			return nil, sum, err
		}
		if err := checkArchive(raw, s.limit); err != nil {
			return nil, sum, err
		}
		loader = bundle.NewTarballLoaderWithBaseURL(bytes.NewReader(raw), "")
	}
	b, err := bundle.NewCustomReader(loader.WithSizeLimitBytes(s.limit)).
		WithSizeLimitBytes(s.limit).
		WithBundleVerificationConfig(s.verify).
		WithProcessAnnotations(true).
		WithRegoVersion(ast.RegoV1).
		WithBundleName(s.id).
		Read()
	if err != nil {
		return nil, sum, s.place(err)
	}
	// Tests decide nothing, and may need what only a test run brings.
	s.tests = nil
	if s.keepTests {
		for _, m := range b.Modules {
			if strings.HasSuffix(m.Path, testSuffix) {
				s.tests = append(s.tests, m)
			}
		}
	}
	b.Modules = slices.DeleteFunc(b.Modules, func(m bundle.ModuleFile) bool { return strings.HasSuffix(m.Path, testSuffix) })
	for i := range b.Modules {
		// Problems name a module as they found it, so it gets its whole name.
		m := &b.Modules[i]
		opts := ast.ParserOptions{ProcessAnnotation: true, RegoVersion: ast.RegoV1}
		if parsed, err := ast.ParseModuleWithOpts(s.module(m.Path), string(m.Raw), opts); err == nil && parsed != nil {
			m.Parsed = parsed
		}
	}
	h := sha256.New()
	enc := json.NewEncoder(h)
	for _, m := range b.Modules {
		if err := enc.Encode([]any{m.Path, m.Raw}); err != nil {
			return nil, sum, err
		}
	}
	if err := enc.Encode([]any{b.Data, b.Manifest}); err != nil {
		return nil, sum, err
	}
	h.Sum(sum[:0])
	return &b, sum, nil
}

// module names a module of the source as the store does.
func (s *localSource) module(path string) string { return s.id + "/" + strings.TrimPrefix(path, "/") }

// place gives the problems of reading a bundle the whole names of its modules.
func (s *localSource) place(err error) error {
	list, ok := errors.AsType[ast.Errors](err)
	if !ok {
		return err
	}
	for _, e := range list {
		if e.Location != nil {
			e.Location.File = s.module(e.Location.File)
		}
	}
	return list
}

// watch reads again what changes, until ctx ends.
func (l *localBundles) watch(ctx context.Context, background *sync.WaitGroup) error {
	if len(l.sources) == 0 {
		return nil
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch bundles: %w", err)
	}
	l.watcher = w
	l.rewatch()
	background.Go(func() {
		timer := time.NewTimer(time.Hour)
		timer.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case err, ok := <-w.Errors:
				if !ok {
					return
				}
				// The kernel's queue may have overflowed: look at everything.
				l.engine.log.WithError(err).Warn("watch bundles")
				timer.Reset(settle)
			case ev, ok := <-w.Events:
				if !ok {
					return
				}
				if l.concerns(ev.Name) {
					timer.Reset(settle)
				}
			case <-timer.C:
				l.rewatch()
				l.load(ctx)
			}
		}
	})
	return nil
}

// concerns reports whether a path is that of a source or below it; the parents
// of sources are watched too, and may be busy with other things.
func (l *localBundles) concerns(path string) bool {
	path = filepath.Clean(path)
	return slices.ContainsFunc(l.sources, func(s *localSource) bool {
		return path == s.path || s.path == "." || strings.HasPrefix(path, strings.TrimSuffix(s.path, string(filepath.Separator))+string(filepath.Separator))
	})
}

// rewatch watches every folder of every source, new ones too, and the parent of
// each source, which may be replaced as a whole.
func (l *localBundles) rewatch() {
	for _, s := range l.sources {
		if err := l.watcher.Add(filepath.Dir(s.path)); err != nil {
			l.engine.log.WithError(err).WithField("path", filepath.Dir(s.path)).Warn("watch bundles")
		}
		err := filepath.WalkDir(s.path, func(p string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return err
			}
			return l.watcher.Add(p)
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.engine.log.WithError(err).WithField("path", s.path).Warn("watch bundles")
		}
	}
}

func (l *localBundles) close() {
	if l.watcher != nil {
		_ = l.watcher.Close() // it only stops
	}
}
