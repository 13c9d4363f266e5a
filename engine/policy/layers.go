package policy

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// layersKept is how many times a bundle's largest size the layers of images may
// take on disk. OPA keeps every layer that it ever pulled.
const layersKept = 4

// ociStore is where OPA's plugin keeps them.
func (e *Engine) ociStore() string { return filepath.Join(e.cfg.Dir, "oci") }

// tidy bounds the layers of all bundles that come from registries.
func (e *Engine) tidy() {
	var limit int64
	for _, b := range e.cfg.Bundles {
		if b.scheme() == "oci" {
			limit += layersKept * b.maxBytes()
		}
	}
	if limit == 0 {
		return
	}
	if err := pruneLayers(e.ociStore(), limit); err != nil {
		e.log.WithError(err).Warn("old layers of bundles are not removed")
	}
}

// pruneLayers removes the oldest layers in the folder of an OCI store until the
// rest is no larger than limit bytes. What is in use and gone is pulled again.
func pruneLayers(store string, limit int64) error {
	type layer struct {
		path string
		info fs.FileInfo
	}
	var layers []layer
	root := filepath.Join(store, "blobs")
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) { // another bundle's turn
			return nil
		}
		if err == nil {
			layers = append(layers, layer{p, info})
		}
		return err
	})
	slices.SortFunc(layers, func(a, b layer) int { return b.info.ModTime().Compare(a.info.ModTime()) })
	var total int64
	for _, l := range layers {
		if total += l.info.Size(); total > limit {
			if gone := os.Remove(l.path); !errors.Is(gone, fs.ErrNotExist) {
				err = errors.Join(err, gone)
			}
		}
	}
	return err
}
