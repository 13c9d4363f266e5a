package policy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/gowebpki/jcs"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/storage"

	"github.com/regate-dev/regate/engine/input"
)

// gatedStore is where OPA's bundle plugin and the folder loader put bundles. A
// transaction is committed only when what it would leave behind passes every
// check; if not, the commit fails, and with it the activation: the plugin keeps
// the last good bundle in the store, on disk and in its status, and asks for
// the new one again.
type gatedStore struct {
	storage.Store
	check  func(candidate) (*snapshot, error)
	keep   func(*snapshot) error // before it is in force; nil: nothing is kept
	commit func(*snapshot)
	closed func() bool // nothing is put in force any more

	// beside are modules of elsewhere that OPA's own compilation of a bundle finds
	// beside it. They are not in the store and not part of a candidate. nil: none.
	beside func() map[string][]byte

	wrote atomic.Uint64 // the last transaction that wrote; there is one writer at a time
}

// Write implements storage.Store.
func (g *gatedStore) Write(ctx context.Context, txn storage.Transaction, op storage.PatchOp, path storage.Path, value any) error {
	g.wrote.Store(txn.ID())
	return g.Store.Write(ctx, txn, op, path, value)
}

// UpsertPolicy implements storage.Store.
func (g *gatedStore) UpsertPolicy(ctx context.Context, txn storage.Transaction, id string, raw []byte) error {
	g.wrote.Store(txn.ID())
	return g.Store.UpsertPolicy(ctx, txn, id, raw)
}

// ListPolicies implements storage.Store.
func (g *gatedStore) ListPolicies(ctx context.Context, txn storage.Transaction) ([]string, error) {
	ids, err := g.Store.ListPolicies(ctx, txn)
	if err != nil || g.beside == nil {
		return ids, err
	}
	return slices.AppendSeq(ids, maps.Keys(g.beside())), nil
}

// GetPolicy implements storage.Store.
func (g *gatedStore) GetPolicy(ctx context.Context, txn storage.Transaction, id string) ([]byte, error) {
	if g.beside != nil {
		if raw, ok := g.beside()[id]; ok {
			return raw, nil
		}
	}
	return g.Store.GetPolicy(ctx, txn, id)
}

// DeletePolicy implements storage.Store.
func (g *gatedStore) DeletePolicy(ctx context.Context, txn storage.Transaction, id string) error {
	if g.beside != nil {
		if _, ok := g.beside()[id]; ok {
			return nil // a bundle has its root, so it is not compiled with it
		}
	}
	g.wrote.Store(txn.ID())
	return g.Store.DeletePolicy(ctx, txn, id)
}

// Truncate implements storage.Store.
func (g *gatedStore) Truncate(ctx context.Context, txn storage.Transaction, params storage.TransactionParams, it storage.Iterator) error {
	g.wrote.Store(txn.ID())
	return g.Store.Truncate(ctx, txn, params, it)
}

// Commit implements storage.Store. The inner store holds its write lock while a
// transaction is open, so commits happen one at a time; readers do not wait.
func (g *gatedStore) Commit(ctx context.Context, txn storage.Transaction) error {
	// Closing, OPA's manager takes its triggers out. But a download that ends at
	// that time is checked like any other: what is committed is kept on disk.
	if g.closed() && g.wrote.Load() != txn.ID() {
		return g.Store.Commit(ctx, txn)
	}
	c, err := readCandidate(ctx, g.Store, txn)
	if err != nil {
		g.Abort(ctx, txn)
		return fmt.Errorf("read candidate: %w", err)
	}
	next, err := g.check(c)
	if err != nil {
		g.Abort(ctx, txn)
		return err
	}
	if g.keep != nil {
		if err := g.keep(next); err != nil {
			g.Abort(ctx, txn)
			return err
		}
	}
	if err := g.Store.Commit(ctx, txn); err != nil {
		return err
	}
	g.commit(next)
	return nil
}

// readCandidate reads what the transaction would commit. Nothing of the result
// is shared with the store, which changes its data in place.
func readCandidate(ctx context.Context, store storage.Store, txn storage.Transaction) (candidate, error) {
	c := candidate{bundles: map[string]candidateBundle{}, modules: map[string][]byte{}}
	names, err := bundle.ReadBundleNamesFromStore(ctx, store, txn)
	if err != nil && !storage.IsNotFound(err) {
		return c, fmt.Errorf("bundle names: %w", err)
	}
	ids, err := store.ListPolicies(ctx, txn)
	if err != nil {
		return c, fmt.Errorf("list modules: %w", err)
	}
	for _, id := range ids {
		raw, err := store.GetPolicy(ctx, txn, id)
		if err != nil {
			return c, fmt.Errorf("module %s: %w", id, err)
		}
		c.modules[id] = append([]byte(nil), raw...)
	}

	value, err := store.Read(ctx, txn, storage.RootPath)
	if err != nil {
		return c, fmt.Errorf("data: %w", err)
	}
	whole, ok := value.(map[string]any)
	if !ok {
		return c, errors.New("data is not an object")
	}
	data := make(map[string]any, len(whole))
	for k, v := range whole {
		if k != "system" { // OPA's own
			data[k] = v
		}
	}
	copied, err := ast.InterfaceToValue(data)
	if err != nil {
		return c, fmt.Errorf("data: %w", err)
	}
	if c.data, ok = copied.(ast.Object); !ok {
		return c, errors.New("data is not an object")
	}

	for _, name := range names {
		roots, err := bundle.ReadBundleRootsFromStore(ctx, store, txn, name)
		if err != nil {
			return c, fmt.Errorf("roots of bundle %s: %w", name, err)
		}
		revision, err := bundle.ReadBundleRevisionFromStore(ctx, store, txn, name)
		if err != nil && !storage.IsNotFound(err) {
			return c, fmt.Errorf("revision of bundle %s: %w", name, err)
		}
		metadata, err := bundle.ReadBundleMetadataFromStore(ctx, store, txn, name)
		if err != nil && !storage.IsNotFound(err) {
			return c, fmt.Errorf("metadata of bundle %s: %w", name, err)
		}
		sequence, err := ManifestSequence(metadata)
		if err != nil {
			return c, fmt.Errorf("bundle %s: %w", name, err)
		}
		c.bundles[name] = candidateBundle{ref: BundleRef{Revision: revision}, roots: roots, sequence: sequence}
	}
	for name, b := range c.bundles {
		digest, err := contentDigest(c, name, b, data)
		if err != nil {
			return c, fmt.Errorf("digest of bundle %s: %w", name, err)
		}
		b.ref.Digest = digest
		c.bundles[name] = b
	}
	return c, nil
}

// contentDigest is the SHA-256 over the canonical JSON of what a bundle is made
// of: its revision and roots, the SHA-256 of each module by its path, and its
// data by root. It does not depend on how the bundle was packed.
func contentDigest(c candidate, name string, b candidateBundle, data map[string]any) (string, error) {
	modules := map[string]string{}
	for id, raw := range c.modules {
		if owner, ok := owningBundle(c.bundles, id); ok && owner == name {
			sum := sha256.Sum256(raw)
			modules[id[len(name)+1:]] = hex.EncodeToString(sum[:])
		}
	}
	own := map[string]any{}
	for _, root := range b.roots {
		var v any = data
		path, ok := storage.ParsePathEscaped("/" + root)
		if !ok {
			return "", fmt.Errorf("root %q is not a path", root)
		}
		for _, key := range path {
			obj, _ := v.(map[string]any)
			v = obj[key]
		}
		if v != nil {
			own[root] = v
		}
	}
	raw, err := json.Marshal(map[string]any{"revision": b.ref.Revision, "roots": b.roots, "modules": modules, "data": own})
	if err == nil {
		raw, err = jcs.Transform(raw)
	}
	if err != nil {
		return "", err
	}
	return input.Digest(sha256.Sum256(raw)).String(), nil
}
