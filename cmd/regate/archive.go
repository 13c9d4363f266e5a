package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	_ "gocloud.dev/blob/memblob" // mem://
)

// openArchive opens the blob store of recordings. A folder is made when there
// is none, readable by its owner alone. settle brings an object of a folder to
// the disk; it is nil for stores that promise that themselves.
func openArchive(ctx context.Context, raw string) (b *blob.Bucket, settle func(key string) error, err error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("record.archive.url: %w", err)
	}
	if u.Scheme != "file" {
		if b, err = blob.OpenBucket(ctx, raw); err != nil {
			return nil, nil, fmt.Errorf("record.archive.url: %w", err)
		}
		return b, nil, nil
	}
	dir := filepath.FromSlash(u.Path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("record.archive.url: %w", err)
	}
	b, err = fileblob.OpenBucket(dir, &fileblob.Options{NoTempDir: true, Metadata: fileblob.MetadataDontWrite, DirFileMode: 0o700})
	if err != nil {
		return nil, nil, fmt.Errorf("record.archive.url: %w", err)
	}
	return b, func(key string) error { return settleFile(dir, filepath.FromSlash(key)) }, nil
}

// settleFile brings a file of a folder, and the folders that lead to it, to the
// disk. The blob store only renames it into place.
func settleFile(dir, name string) error {
	for {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
		if name == "." {
			return nil
		}
		name = filepath.Dir(name)
	}
}
