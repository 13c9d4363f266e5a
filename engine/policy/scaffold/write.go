package scaffold

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Write puts files into dir, which is made where it does not exist. Unless
// replace is set, nothing is written when one of them is there already; the
// error then is an *ExistsError that names them. A symbolic link below dir is
// never followed.
func Write(dir string, files []File, replace bool) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	defer root.Close()
	if !replace {
		var there []string
		for _, f := range files {
			switch _, err := root.Lstat(filepath.FromSlash(f.Path)); {
			case err == nil:
				there = append(there, f.Path)
			case !errors.Is(err, fs.ErrNotExist):
				return fmt.Errorf("write the bundle: %w", err)
			}
		}
		if len(there) > 0 {
			return &ExistsError{Dir: dir, Paths: there}
		}
	}
	for _, f := range files {
		if err := write(root, filepath.FromSlash(f.Path), f.Data); err != nil {
			return fmt.Errorf("write the bundle: %w", err)
		}
	}
	return nil
}

// write replaces one file as a whole. What has its name and is no plain file
// stays, and is an error.
func write(root *os.Root, name string, data []byte) error {
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	switch info, err := root.Lstat(name); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no plain file", name)
	}
	tmp := name + ".new"
	if err := root.WriteFile(tmp, data, 0o644); err != nil {
		return errors.Join(err, removed(root, tmp))
	}
	return root.Rename(tmp, name)
}

func removed(root *os.Root, name string) error {
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// ExistsError says that files are in the way.
type ExistsError struct {
	Dir   string
	Paths []string
}

func (e *ExistsError) Error() string {
	more := ""
	if len(e.Paths) > 1 {
		more = fmt.Sprintf(" and %d more", len(e.Paths)-1)
	}
	return fmt.Sprintf("%s has %s%s already", e.Dir, e.Paths[0], more)
}
