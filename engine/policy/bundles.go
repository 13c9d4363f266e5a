package policy

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/keys"
	"github.com/open-policy-agent/opa/v1/plugins"
	"github.com/open-policy-agent/opa/v1/storage"

	"github.com/regate-dev/regate/engine/input"
)

const (
	defaultMaxBytes = 64 << 20
	maxPaths        = 100
)

var bundleName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// Check returns every problem of the configuration, joined.
func (c Config) Check() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	keyOf := map[string]Signing{}
	seen := map[string]bool{}
	for i, b := range c.Bundles {
		if !bundleName.MatchString(b.Name) {
			bad("bundle %d: name %q is not 1 to 64 letters, digits, dots, dashes and underscores", i, b.Name)
		}
		if seen[b.Name] {
			bad("bundle %q: the name is used twice", b.Name)
		}
		seen[b.Name] = true
		if err := b.check(c.Dir); err != nil {
			bad("bundle %q: %w", b.Name, err)
		}
		if b.Signing != nil {
			if other, ok := keyOf[b.Signing.KeyID]; ok && (other.PublicKey != b.Signing.PublicKey || other.Algorithm != b.Signing.Algorithm) {
				bad("bundle %q: key id %q stands for another key in another bundle", b.Name, b.Signing.KeyID)
			}
			keyOf[b.Signing.KeyID] = *b.Signing
		}
	}
	for i, a := range c.AllowFrom {
		for _, p := range a.Targets {
			if _, err := path.Match(p, ""); err != nil {
				bad("allow_from %d: target %q: %w", i, p, err)
			}
		}
		if len(a.Packages) == 0 {
			bad("allow_from %d: names no package", i)
		}
		for _, p := range a.Packages {
			if _, err := path.Match(p, ""); err != nil {
				bad("allow_from %d: package %q: %w", i, p, err)
			}
		}
	}
	if c.Timeout < 0 {
		bad("timeout %s is negative", c.Timeout)
	}
	return errors.Join(problems...)
}

func (b Bundle) check(dir string) error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	switch {
	case (b.URL == "") == (len(b.Paths) == 0):
		bad("want exactly one of url and paths")
	case len(b.Paths) > maxPaths:
		bad("more than %d paths", maxPaths)
	case slices.Contains(b.Paths, ""):
		bad("a path is empty")
	}
	if b.IsLocal() {
		if b.Auth != nil {
			bad("auth has no meaning for a local source")
		}
		if b.Polling != (Polling{}) {
			bad("polling has no meaning for a local source: it is watched")
		}
	} else if _, err := b.remote(); err != nil {
		problems = append(problems, err)
	} else if scheme := b.scheme(); scheme == "oci" && dir == "" {
		bad("an oci source needs a directory to keep its layers in")
	}
	if s := b.Signing; s != nil {
		if s.KeyID == "" || s.PublicKey == "" {
			bad("signing needs a key id and a public key")
		}
		if s.Algorithm != "" && !keys.IsSupportedAlgorithm(s.Algorithm) {
			bad("signing algorithm %q is not supported", s.Algorithm)
		}
	}
	if p := b.Polling; p.Min < 0 || p.Max < 0 || p.Timeout < 0 || p.Max != 0 && p.Min > p.Max {
		bad("polling from %s to %s is not a range", p.Min, p.Max)
	}
	if b.MaxBytes < 0 {
		bad("max bytes %d is negative", b.MaxBytes)
	}
	return errors.Join(problems...)
}

// scheme returns "" for a plain path.
func (b Bundle) scheme() string {
	scheme, _, ok := strings.Cut(b.URL, "://")
	if !ok {
		return ""
	}
	return strings.ToLower(scheme)
}

// IsLocal reports whether the bundle is on this machine.
func (b Bundle) IsLocal() bool {
	s := b.scheme()
	return s == "" || s == "file"
}

// localPaths returns the folders and tarballs of a local bundle.
func (b Bundle) localPaths() []string {
	if len(b.Paths) > 0 {
		return b.Paths
	}
	if b.scheme() == "file" {
		if u, err := url.Parse(b.URL); err == nil {
			return []string{filepath.FromSlash(u.Path)}
		}
		return []string{strings.TrimPrefix(b.URL, "file://")}
	}
	return []string{b.URL}
}

func (b Bundle) maxBytes() int64 {
	if b.MaxBytes > 0 {
		return b.MaxBytes
	}
	return defaultMaxBytes
}

// ids returns OPA's names for the bundle: one for each path, so that each path
// has a manifest and roots of its own.
func (b Bundle) ids() []string {
	if len(b.Paths) <= 1 {
		return []string{b.Name}
	}
	ids := make([]string, len(b.Paths))
	for i := range b.Paths {
		ids[i] = fmt.Sprintf("%s/%02d", b.Name, i)
	}
	return ids
}

// sources names what each of the bundle's ids is read from, for what is
// remembered across restarts: an id of several paths depends on their order.
func (b Bundle) sources() map[string]string {
	ids := b.ids()
	out := make(map[string]string, len(ids))
	for i, id := range ids {
		out[id] = b.Name
		if len(b.Paths) > 1 {
			out[id] += ":" + b.Paths[i]
		}
	}
	return out
}

// joinRefs names several paths as one bundle: the revision is that of the last
// path that has one, the digest covers all of them.
func joinRefs(refs []BundleRef) BundleRef {
	if len(refs) == 1 {
		return refs[0]
	}
	var out BundleRef
	h := sha256.New()
	for _, r := range refs {
		if r.Revision != "" {
			out.Revision = r.Revision
		}
		h.Write([]byte(r.Digest + "\n"))
	}
	out.Digest = input.Digest(h.Sum(nil)).String()
	return out
}

// redactURL drops what may be a secret.
func redactURL(raw string) string {
	if !strings.Contains(raw, "://") {
		return raw
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "(not a URL)"
	}
	u.User = nil
	if u.RawQuery != "" {
		u.RawQuery = "…"
	}
	return u.String()
}

// startBundles starts OPA's manager on the store, loads the local bundles and
// begins to poll the others.
func (e *Engine) startBundles(ctx context.Context, store storage.Store) error {
	var remote []Bundle
	e.local = &localBundles{engine: e, store: store}
	for _, b := range e.cfg.Bundles {
		if b.Shadow {
			continue // each has a world of its own
		}
		for _, id := range b.ids() {
			e.owners[id] = b.Name
		}
		if b.IsLocal() {
			e.local.add(b)
		} else {
			remote = append(remote, b)
		}
	}
	if e.cfg.Dir != "" {
		if err := os.MkdirAll(e.cfg.Dir, 0o700); err != nil {
			return fmt.Errorf("directory for bundles: %w", err)
		}
	}
	config, err := opaConfig(remote, e.cfg.Dir)
	if err != nil {
		return err
	}
	e.manager, err = plugins.New(config, "regate", store,
		plugins.Logger(opaLogger{e.log}),
		plugins.ConsoleLogger(opaLogger{e.log}),
		plugins.WithEnableVersionCheck(false),
		plugins.WithParserOptions(ast.ParserOptions{ProcessAnnotation: true, RegoVersion: ast.RegoV1}),
	)
	if err != nil {
		return fmt.Errorf("configure bundles: %w", err)
	}
	if err := e.manager.Init(ctx); err != nil {
		return fmt.Errorf("start bundles: %w", err)
	}
	if err := e.startRemote(ctx, remote); err != nil {
		return err
	}
	e.local.load(ctx)
	return e.local.watch(e.ctx, &e.background)
}
