package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/regate-dev/regate/engine/config"
)

// Keys that nobody configured are made on the first start and kept in
// state.dir/keys: they must survive a restart, or hashes would change and
// receipts could not be checked.

// receiptKey returns the key that signs receipts.
func receiptKey(cfg *config.Config) (ed25519.PrivateKey, error) {
	name := cfg.Record.KeyFile
	if name == "" {
		name = filepath.Join(cfg.State.Dir, "keys", "receipts.pem")
		if err := makeKey(name, newReceiptKey); err != nil {
			return nil, fmt.Errorf("make the key that signs receipts: %w", err)
		}
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the key that signs receipts: %w", err)
	}
	key, err := parseReceiptKey(raw)
	if err != nil {
		return nil, fmt.Errorf("read the key that signs receipts: %s: %w", name, err)
	}
	return key, nil
}

func parseReceiptKey(raw []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, errors.New("not a PEM file")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("not a PKCS #8 private key")
	}
	ed, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("not an Ed25519 key")
	}
	return ed, nil
}

func newReceiptKey() ([]byte, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// maskKey returns the key of hashes and tokens.
func maskKey(cfg *config.Config) ([]byte, error) {
	if k := cfg.Policy.MaskKey; k.IsSet() {
		return []byte(k.Reveal()), nil
	}
	name := filepath.Join(cfg.State.Dir, "keys", "mask.key")
	if err := makeKey(name, newMaskKey); err != nil {
		return nil, fmt.Errorf("make the key of masks: %w", err)
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the key of masks: %w", err)
	}
	return []byte(strings.TrimSpace(string(raw))), nil
}

func newMaskKey() ([]byte, error) {
	var b [32]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, err
	}
	return []byte(hex.EncodeToString(b[:]) + "\n"), nil
}

// makeKey writes a new key unless there is one. It is complete on disk before
// it has its name, so that a crash leaves no half of a key.
func makeKey(name string, create func() ([]byte, error)) error {
	if _, err := os.Stat(name); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	raw, err := create()
	if err != nil {
		return err
	}
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(raw)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	// Link fails where another process was faster; its key counts.
	if err := os.Link(tmp.Name(), name); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
