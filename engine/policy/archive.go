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
)

// errTooLarge is what a bundle over its limit gives.
var errTooLarge = errors.New("the bundle is larger than allowed")

// maxArchiveFiles bounds the number of files in an archive: OPA keeps each of
// them in memory before it looks at any.
const maxArchiveFiles = 20_000

// checkArchive reads a .tar.gz through before OPA does, which bounds each file
// but not their sum and takes any path for a module's name: it refuses more
// than limit unpacked bytes, paths that lead out of the archive, and all that is
// not a plain file or folder.
func checkArchive(raw []byte, limit int64) error {
	zr, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("read archive: %w", err)
	}
	counted := &io.LimitedReader{R: zr, N: limit + 1}
	tr := tar.NewReader(counted)
	var total int64 // what the headers say: a sparse file takes little of the archive
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

func safePath(name string) bool {
	if strings.ContainsAny(name, "\\\x00") {
		return false
	}
	clean := path.Clean("/" + name)
	return !strings.Contains("/"+name+"/", "/../") && clean != "" && len(name) < 1_024
}
