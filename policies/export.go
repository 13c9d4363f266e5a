package policies

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// ErrChanged is in the error of Export where a file that is there is not as it
// would be written.
var ErrChanged = errors.New("a file differs from what would be written")

// Export writes packs and the library as one bundle: Rego, tests, a data.json
// with all defaults, a .manifest with all roots. Packs that the folder has
// already stay in the bundle. It returns the names of all packs that are in it
// then. Without force, no file is written where one that is there differs, but
// for data.json and .manifest, which list more when packs are added.
func Export(dir string, names []string, force bool) ([]string, error) {
	all, err := Packs()
	if err != nil {
		return nil, err
	}
	var in []Pack
	for _, p := range all {
		_, err := os.Stat(filepath.Join(dir, filepath.FromSlash(p.Name)+".rego"))
		if err == nil || slices.Contains(names, p.Name) {
			in = append(in, p)
		}
	}
	for _, name := range names {
		if !slices.ContainsFunc(all, func(p Pack) bool { return p.Name == name }) {
			return nil, fmt.Errorf("there is no pack %q", name)
		}
	}
	write, err := contents(in)
	if err != nil {
		return nil, err
	}
	if !force {
		for _, name := range sorted(write) {
			have, err := os.ReadFile(filepath.Join(dir, name))
			if err == nil && !bytes.Equal(have, write[name]) && !slices.Contains([]string{".manifest", "data.json"}, name) {
				return nil, fmt.Errorf("%s: %w", filepath.Join(dir, name), ErrChanged)
			}
		}
	}
	for _, name := range sorted(write) {
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return nil, fmt.Errorf("export packs: %w", err)
		}
		if err := os.WriteFile(to, write[name], 0o644); err != nil {
			return nil, fmt.Errorf("export packs: %w", err)
		}
	}
	out := make([]string, len(in))
	for i, p := range in {
		out[i] = p.Name
	}
	return out, nil
}

func sorted(m map[string][]byte) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// contents are the files of a bundle of packs, by name.
func contents(packs []Pack) (map[string][]byte, error) {
	out := map[string][]byte{}
	library, err := fs.Glob(files, "lib/*.rego")
	if err != nil {
		return nil, err
	}
	for _, name := range library {
		if out[filepath.FromSlash(name)], err = fs.ReadFile(files, name); err != nil {
			return nil, err
		}
	}
	roots := []string{"regate/lib"}
	defaults := map[string]json.RawMessage{}
	for _, p := range packs {
		for from, to := range map[string]string{"policy.rego": ".rego", "policy_test.rego": "_test.rego"} {
			text, err := fs.ReadFile(files, path.Join(p.Name, from))
			if err != nil {
				return nil, err
			}
			out[filepath.FromSlash(p.Name+to)] = text
		}
		roots = append(roots, p.Roots...)
		defaults[p.Setting] = p.Defaults
	}
	slices.Sort(roots)
	if out[".manifest"], err = indented(map[string]any{"roots": roots}); err != nil {
		return nil, err
	}
	if out["data.json"], err = indented(map[string]any{"regate": map[string]any{"defaults": defaults}}); err != nil {
		return nil, err
	}
	return out, nil
}

func indented(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(v)
	return b.Bytes(), err
}

// Find returns the pack of that name. Where there is none, the error names
// those that are like it.
func Find(name string) (Pack, error) {
	all, err := Packs()
	if err != nil {
		return Pack{}, err
	}
	var like []string
	for _, p := range all {
		if p.Name == name {
			return p, nil
		}
		if strings.Contains(p.Name, path.Base(name)) {
			like = append(like, p.Name)
		}
	}
	if len(like) > 0 {
		return Pack{}, fmt.Errorf("there is no pack %q; there is %s", name, strings.Join(like, ", "))
	}
	return Pack{}, fmt.Errorf("there is no pack %q", name)
}
