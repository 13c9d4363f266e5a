package policy

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// hidden leaves out what deployments and editors put beside a bundle's files,
// as ..data in a mounted Kubernetes ConfigMap.
func hidden(name string) bool {
	return strings.HasPrefix(name, ".") && name != ".manifest" && name != ".signatures.json" && name != "." && name != ".."
}

// checkFolder looks through a folder before OPA reads it: it refuses files that
// are too large together, that are no plain files (reading a pipe would never
// end), that are links out of the folder or to a folder, and text that is not
// UTF-8. Links to files within are how Kubernetes mounts a ConfigMap.
func checkFolder(root string, limit int64) error {
	within, err := filepath.Abs(root)
	if err == nil {
		within, err = filepath.EvalSymlinks(within)
	}
	if err != nil {
		return err
	}
	var total int64
	files := 0
	return filepath.WalkDir(within, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if p != within && hidden(d.Name()) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return nil
		}
		if d.Type()&fs.ModeSymlink != 0 {
			to, err := filepath.EvalSymlinks(p)
			if err != nil {
				return err
			}
			if !strings.HasPrefix(to, strings.TrimSuffix(within, string(filepath.Separator))+string(filepath.Separator)) {
				return fmt.Errorf("%s is a link out of the bundle", p)
			}
		}
		info, err := os.Stat(p) // through a link
		switch {
		case err != nil:
			return err
		case info.IsDir():
			return fmt.Errorf("%s is a link to a folder", p)
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s is neither a file nor a folder", p)
		}
		total += info.Size()
		if files++; total > limit || files > maxArchiveFiles {
			return fmt.Errorf("%w: more than %d bytes or %d files", errTooLarge, limit, maxArchiveFiles)
		}
		if isText(d.Name()) {
			text, err := os.ReadFile(p)
			if err == nil && !utf8.Valid(text) {
				err = errNotText
			}
			if err != nil {
				return fmt.Errorf("%s: %w", p, err)
			}
		}
		return nil
	})
}
