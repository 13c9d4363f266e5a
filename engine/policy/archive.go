package policy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode/utf8"
)

// errTooLarge is what a bundle over its limit gives.
var errTooLarge = errors.New("the bundle is larger than allowed")

// maxArchiveFiles bounds the number of files in an archive: OPA keeps each of
// them in memory before it looks at any.
const maxArchiveFiles = 20_000

// checkArchive reads a .tar.gz through before OPA does, which bounds each file
// but not their sum and takes any path for a module's name: it refuses more
// than limit unpacked bytes, paths that lead out of the archive, all that is not
// a plain file or folder, a file that is there twice (which of them counts
// depends on who reads it), and text that is not UTF-8. Nothing is written to
// disk, so an absolute path is only a name below the bundle's own.
func checkArchive(raw []byte, limit int64) error {
	zr, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("read archive: %w", err)
	}
	counted := &io.LimitedReader{R: zr, N: limit + 1}
	tr := tar.NewReader(counted)
	var total int64 // what the headers say: a sparse file takes little of the archive
	seen := map[string]bool{}
	for files := 0; ; files++ {
		h, err := tr.Next()
		if h != nil {
			total += h.Size
		}
		if counted.N <= 0 || total > limit || total < 0 {
			return fmt.Errorf("%w: more than %d bytes unpacked", errTooLarge, limit)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		if files >= maxArchiveFiles {
			return fmt.Errorf("%w: more than %d files", errTooLarge, maxArchiveFiles)
		}
		if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir {
			return fmt.Errorf("archive: %.100q is neither a file nor a folder", h.Name)
		}
		if !safePath(h.Name) {
			return fmt.Errorf("archive: path %.100q leads out of the bundle", h.Name)
		}
		if h.Typeflag == tar.TypeDir {
			continue
		}
		name := path.Clean("/" + h.Name)
		if seen[name] {
			return fmt.Errorf("archive: file %.100q is there twice", h.Name)
		}
		seen[name] = true
		if !isText(name) {
			continue
		}
		text, err := io.ReadAll(tr)
		if err == nil && !utf8.Valid(text) {
			err = errNotText
		}
		if err != nil {
			if counted.N <= 0 {
				err = fmt.Errorf("%w: more than %d bytes unpacked", errTooLarge, limit)
			}
			return fmt.Errorf("read archive: file %.100q: %w", h.Name, err)
		}
	}
	// Tar ends before gzip does when something is appended; a bomb may hide there.
	if _, err := io.Copy(io.Discard, counted); err != nil {
		return fmt.Errorf("read archive: %w", err)
	}
	if counted.N <= 0 {
		return fmt.Errorf("%w: more than %d bytes unpacked", errTooLarge, limit)
	}
	return nil
}

// errNotText is what a policy or data that is not UTF-8 gives. JSON's decoder
// would put other characters in place of what it cannot read.
var errNotText = errors.New("the text is not UTF-8")

// isText reports whether a bundle's file is one that is read as text.
func isText(name string) bool {
	switch path.Ext(name) {
	case ".rego", ".json", ".yaml", ".yml", ".manifest":
		return true
	}
	return false
}

func safePath(name string) bool {
	if strings.ContainsAny(name, "\\\x00") || !utf8.ValidString(name) {
		return false
	}
	clean := path.Clean("/" + name)
	return !strings.Contains("/"+name+"/", "/../") && clean != "" && len(name) < 1_024
}
