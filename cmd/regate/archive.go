package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	_ "gocloud.dev/blob/memblob" // mem://
)

// openArchive opens the blob store of recordings. A folder is made when there
// is none, readable by its owner alone.
func openArchive(ctx context.Context, raw string) (*blob.Bucket, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("record.archive.url: %w", err)
	}
	if u.Scheme != "file" {
		b, err := blob.OpenBucket(ctx, raw)
		if err != nil {
			return nil, fmt.Errorf("record.archive.url: %w", err)
		}
		return b, nil
	}
	dir := filepath.FromSlash(u.Path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("record.archive.url: %w", err)
	}
	b, err := fileblob.OpenBucket(dir, &fileblob.Options{NoTempDir: true, Metadata: fileblob.MetadataDontWrite, DirFileMode: 0o700})
	if err != nil {
		return nil, fmt.Errorf("record.archive.url: %w", err)
	}
	return b, nil
}
