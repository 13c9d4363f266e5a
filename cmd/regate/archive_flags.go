package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"

	"github.com/regate-dev/regate/engine/config"
	"github.com/regate-dev/regate/engine/record"
)

// archiveFlags say where recordings are. What is not given comes from the
// configuration's keys of the same meaning.
type archiveFlags struct {
	config  string
	archive string
	index   string
	spool   string
	journal string
	key     string

	dir string // state.dir
}

func (a *archiveFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&a.config, "config", "c", "", "configuration file (default: $REGATE_CONFIG, or regate.yaml)")
	f.StringVar(&a.archive, "archive", "", "folder or URL of the archive (default: record.archive.url)")
	f.StringVar(&a.spool, "spool", "", "the recorder's folder, for sessions that are not archived yet (default: in state.dir)")
	f.StringVar(&a.key, "public-key", "", "PEM file of the key that checks receipts (default: the configured one)")
}

func (a *archiveFlags) addIndex(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.index, "index", "", "SQLite index (default: record.index.path)")
}

// fill takes what no flag says from the configuration. Where a flag names the
// archive, the configuration is not asked for anything that belongs to another.
func (a *archiveFlags) fill() {
	if a.archive != "" || a.journal != "" {
		return
	}
	// Whatever else is wrong with the configuration does not matter here.
	cfg, _ := config.Load(config.Options{File: configFile(a.config), Env: os.Environ(), SkipSecrets: true})
	a.dir = cfg.State.Dir
	if a.archive = cfg.Record.Archive.URL; a.archive == "" {
		a.archive = filepath.Join(a.dir, "archive")
	}
	if a.index == "" {
		if a.index = cfg.Record.Index.Path; a.index == "" {
			a.index = filepath.Join(a.dir, "index.db")
		}
	}
	if a.spool == "" {
		a.spool = filepath.Join(a.dir, "spool")
	}
	if a.key == "" {
		if a.key = cfg.Record.KeyFile; a.key == "" {
			a.key = filepath.Join(a.dir, "keys", "receipts.pem")
		}
		if _, err := os.Stat(a.key); errors.Is(err, fs.ErrNotExist) {
			a.key = ""
		}
	}
}

// publicKey returns the key of the receipts, nil where none is known.
func (a *archiveFlags) publicKey() (ed25519.PublicKey, error) {
	if a.key == "" {
		return nil, nil
	}
	return record.LoadPublicKey(a.key)
}

// openBucket opens a folder or a URL for reading. A folder that does not exist
// is an error: an empty archive and a mistyped one must not look the same.
func openBucket(ctx context.Context, where string) (*blob.Bucket, error) {
	if u, err := url.Parse(where); err == nil && u.Scheme == "file" {
		where = filepath.FromSlash(u.Path)
	} else if strings.Contains(where, "://") {
		bucket, err := blob.OpenBucket(ctx, where)
		if err != nil {
			return nil, fmt.Errorf("archive %s: %w", where, err)
		}
		return bucket, nil
	}
	bucket, err := fileblob.OpenBucket(where, &fileblob.Options{NoTempDir: true, Metadata: fileblob.MetadataDontWrite})
	if err != nil {
		return nil, fmt.Errorf("archive %s: %w", where, err)
	}
	return bucket, nil
}
