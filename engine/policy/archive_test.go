package policy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"path"
	"strconv"
	"strings"
	"testing"
)

func TestABombIsRefused(t *testing.T) {
	bomb := tarball(t, func(tw *tar.Writer) {
		for i := range 64 {
			addFile(t, tw, strings.Repeat("x", i+1)+".rego", make([]byte, 1<<20))
		}
	})
	if len(bomb) > 1<<20 {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	if err := checkArchive(bomb, 16<<20); !errors.Is(err, errTooLarge) {
		t.Errorf("got %v", err)
	}
	// What follows the end of the archive counts too.
	var tail bytes.Buffer
	zw := gzip.NewWriter(&tail)
	if _, err := zw.Write(make([]byte, 32<<20)); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	small := tarball(t, func(tw *tar.Writer) { addFile(t, tw, "p.rego", []byte("package p")) })
	if err := checkArchive(append(small, tail.Bytes()...), 16<<20); !errors.Is(err, errTooLarge) {
		t.Errorf("got %v", err)
	}
	many := tarball(t, func(tw *tar.Writer) {
		for i := range maxArchiveFiles + 1 {
			addFile(t, tw, strconv.Itoa(i)+".rego", nil)
		}
	})
	if err := checkArchive(many, 1<<30); !errors.Is(err, errTooLarge) {
		t.Errorf("got %v", err)
	}
}

// An archive that passes holds plain files and folders inside itself, and no
// more than the limit.
func FuzzArchive(f *testing.F) {
	f.Add(tarball(f, func(tw *tar.Writer) { addFile(f, tw, "/a/p.rego", []byte("package p")) }))
	f.Add(tarball(f, func(tw *tar.Writer) { addFile(f, tw, "a/../../p.rego", []byte("package p")) }))
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		const limit = 1 << 20
		if checkArchive(raw, limit) != nil {
			return
		}
		zr, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		total := int64(0)
		tr := tar.NewReader(zr)
		for {
			h, err := tr.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if total += h.Size; total > limit {
				t.Fatalf("%d bytes", total)
			}
			if p := path.Join("root", h.Name); p != "root" && !strings.HasPrefix(p, "root/") {
				t.Fatalf("path %q", h.Name)
			}
		}
	})
}
