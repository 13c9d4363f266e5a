package pack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"

	"github.com/regate-dev/regate/engine/policy"
)

// Options say what a bundle is made of.
type Options struct {
	// Paths are folders or tarballs, each a bundle of its own with roots that do
	// not overlap. They become one.
	Paths []string
	// With are folders and tarballs that will be in force beside the bundle and
	// that it needs, such as a library. They are checked with it and not packed.
	With []string
	// Tests packs …_test.rego too, for `opa test -b`. A gateway leaves them out.
	Tests bool
	// Revision replaces the manifest's. "" leaves it.
	Revision string
	// Sequence is the place of this revision in the order of revisions; nil
	// leaves what the manifest says.
	Sequence *int64
	// Key signs the bundle. nil: unsigned.
	Key *Key
	// MaxBytes bounds each path and the result, unpacked. 0 means 64 MiB.
	MaxBytes int64
}

// Built is a bundle that a gateway would put in force.
type Built struct {
	Archive  []byte   `json:"-"`      // the .tar.gz
	SHA256   string   `json:"sha256"` // of Archive, hex
	Bytes    int      `json:"bytes"`  // of Archive
	Revision string   `json:"revision"`
	Sequence *int64   `json:"sequence"` // null: not ordered
	Roots    []string `json:"roots"`
	Modules  []string `json:"modules"` // paths in the bundle
	Digest   string   `json:"digest"`  // as decisions and `regate policy status` show it
	KeyID    string   `json:"key_id"`  // "": unsigned
	Warnings []string `json:"warnings"`
}

// bundleName is what the candidate is called while it is checked.
const bundleName = "bundle"

// Build packs, signs and checks. The error lists everything that a gateway
// would refuse the bundle for.
func Build(ctx context.Context, o Options) (*Built, error) {
	if len(o.Paths) == 0 {
		return nil, errors.New("no folder to build from")
	}
	merged, err := merge(o)
	if err != nil {
		return nil, err
	}
	if len(merged.Modules) == 0 && len(merged.Data) == 0 && slices.Contains(*merged.Manifest.Roots, "") {
		return nil, fmt.Errorf("there is no policy, no data and no .manifest in %s", strings.Join(o.Paths, ", "))
	}
	out := &Built{
		Revision: merged.Manifest.Revision, Roots: *merged.Manifest.Roots, Modules: []string{}, Warnings: []string{},
		Sequence: setSequence(&merged.Manifest, o.Sequence),
	}
	for _, m := range merged.Modules {
		out.Modules = append(out.Modules, m.Path)
	}
	if slices.Contains(out.Roots, "") {
		out.Warnings = append(out.Warnings, "the bundle owns all of data: no other can be in force beside it. Give .manifest roots, e.g. {\"roots\": [\"regate/policies/acme\"]}")
	}
	if out.Sequence == nil {
		out.Warnings = append(out.Warnings, "the bundle has no sequence: a gateway cannot tell it from an older one")
	}
	if o.Key != nil {
		if err := sign(merged, o.Key); err != nil {
			return nil, fmt.Errorf("sign: %w", err)
		}
		out.KeyID = o.Key.ID
	} else {
		merged.Signatures = bundle.SignaturesConfig{}
	}
	var archive bytes.Buffer
	// OPA's writer leaves times, owners and the name of the machine out.
	if err := bundle.NewWriter(&archive).UseModulePath(true).DisableFormat(true).Write(*merged); err != nil {
		return nil, fmt.Errorf("write the bundle: %w", err)
	}
	out.Archive, out.Bytes = archive.Bytes(), archive.Len()
	sum := sha256.Sum256(out.Archive)
	out.SHA256 = hex.EncodeToString(sum[:])
	out.Digest, err = check(ctx, o, out.Archive)
	return out, err
}

// check puts the archive through what a gateway would: its signature, its
// bounds, compilation, schemas, roots.
func check(ctx context.Context, o Options, archive []byte) (digest string, err error) {
	dir, err := os.MkdirTemp("", "regate-build-*")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "bundle.tar.gz")
	if err := os.WriteFile(file, archive, 0o600); err != nil {
		return "", err
	}
	candidate := policy.Bundle{Name: bundleName, Paths: []string{file}, MaxBytes: o.MaxBytes}
	if o.Key != nil {
		public, err := o.Key.public()
		if err != nil {
			return "", err
		}
		candidate.Signing = &policy.Signing{KeyID: o.Key.ID, PublicKey: public, Scope: o.Key.Scope, Algorithm: o.Key.Algorithm}
	}
	c := policy.Config{Bundles: []policy.Bundle{candidate}}
	if len(o.With) > 0 {
		c.Bundles = append(c.Bundles, policy.Bundle{Name: "with", Paths: o.With, MaxBytes: o.MaxBytes})
	}
	refs, problems := c.Inspect(ctx)
	var all []error
	for _, p := range problems {
		text := p.Text
		if p.File != "" {
			text = fmt.Sprintf("%s:%d: %s", p.File, p.Line, text)
		}
		all = append(all, errors.New(strings.ReplaceAll(text, file+"/", "")))
	}
	return refs[bundleName].Digest, errors.Join(all...)
}

// merge reads all paths and makes one bundle of them, whose order of files,
// roots and keys is that of their names.
func merge(o Options) (*bundle.Bundle, error) {
	version := ast.RegoV1.Int()
	out := &bundle.Bundle{Data: map[string]any{}, Manifest: bundle.Manifest{Roots: &[]string{}, RegoVersion: &version}}
	prefixes, err := prefixes(o.Paths)
	if err != nil {
		return nil, err
	}
	for i, p := range o.Paths {
		b, err := policy.ReadBundle(p, o.MaxBytes, o.Tests)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", p, err)
		}
		if b.Type() != bundle.SnapshotBundleType || len(b.WasmModules)+len(b.PlanModules) > 0 {
			return nil, fmt.Errorf("read %s: a bundle with patch.json, WebAssembly or plans is not one that a gateway runs", p)
		}
		for _, root := range *b.Manifest.Roots {
			for _, other := range *out.Manifest.Roots {
				if bundle.RootPathsOverlap(root, other) {
					return nil, fmt.Errorf("%s: its root %q overlaps with %q of another path", p, root, other)
				}
			}
		}
		*out.Manifest.Roots = append(*out.Manifest.Roots, *b.Manifest.Roots...)
		if b.Manifest.Revision != "" {
			out.Manifest.Revision = b.Manifest.Revision
		}
		for key, v := range b.Manifest.Metadata {
			if out.Manifest.Metadata == nil {
				out.Manifest.Metadata = map[string]any{}
			}
			if _, ok := out.Manifest.Metadata[key]; ok {
				return nil, fmt.Errorf("%s: .manifest: metadata.%s is there twice", p, key)
			}
			out.Manifest.Metadata[key] = v
		}
		mergeData(out.Data, b.Data)
		for _, m := range b.Modules {
			m.Path = path.Join("/", prefixes[i], filepath.ToSlash(m.Path))
			m.URL, m.RelativePath = m.Path, m.Path
			out.Modules = append(out.Modules, m)
		}
	}
	if o.Revision != "" {
		out.Manifest.Revision = o.Revision
	}
	slices.Sort(*out.Manifest.Roots)
	slices.SortFunc(out.Modules, func(a, b bundle.ModuleFile) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

// prefixes are the folders of the paths in the bundle: none for a single path,
// else the last element of each, which does not depend on the machine.
func prefixes(paths []string) ([]string, error) {
	out := make([]string, len(paths))
	if len(paths) == 1 {
		return out, nil
	}
	for i, p := range paths {
		abs, err := filepath.Abs(p)
		if err != nil {
			return nil, err
		}
		out[i] = strings.TrimSuffix(filepath.Base(abs), ".tar.gz")
		if slices.Contains(out[:i], out[i]) {
			return nil, fmt.Errorf("two paths are called %s: their files would have one name", out[i])
		}
	}
	return out, nil
}

// mergeData adds from to into. The roots do not overlap, so no value is in both.
func mergeData(into, from map[string]any) {
	for key, v := range from {
		have, ok := into[key].(map[string]any)
		add, both := v.(map[string]any)
		if ok && both {
			mergeData(have, add)
			continue
		}
		into[key] = v
	}
}

// setSequence writes the sequence into the manifest, or returns the one there.
func setSequence(m *bundle.Manifest, sequence *int64) *int64 {
	if sequence == nil {
		n, _ := policy.ManifestSequence(m.Metadata) // what is wrong with it, the check says
		return n
	}
	if m.Metadata == nil {
		m.Metadata = map[string]any{}
	}
	m.Metadata["regate"] = map[string]any{"sequence": *sequence}
	return sequence
}
