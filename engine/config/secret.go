package config

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// hidden stands for a secret wherever one would be printed.
const hidden = "[secret]"

// Secret is a password, a key or a token. It prints as [secret] in every
// format; only Reveal gives the value.
type Secret struct {
	ref   string // env:NAME, file:/path, or "literal"
	value string
}

// NewSecret returns a secret with a value that did not come from a file. For
// tests and for values made at start.
func NewSecret(value string) Secret { return Secret{ref: "literal", value: value} }

// Reveal returns the value.
func (s Secret) Reveal() string { return s.value }

// IsSet reports whether a secret was configured.
func (s Secret) IsSet() bool { return s.ref != "" }

// Ref says where the value comes from without giving it: "env:NAME",
// "file:/path" or "[secret]" for a literal.
func (s Secret) Ref() string {
	if s.ref == "literal" {
		return hidden
	}
	return s.ref
}

// String hides the value.
func (s Secret) String() string {
	if !s.IsSet() {
		return ""
	}
	return hidden
}

// Format hides the value under every verb, %#v included.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText hides the value in JSON, YAML and the like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// maxSecretFile bounds a secret's file; the largest honest one is a PEM key.
const maxSecretFile = 64 << 10

// resolveSecret reads what ref points to. The error never contains the value.
func resolveSecret(ref string, env func(string) (string, bool), path func(string) string) (Secret, error) {
	if name, ok := strings.CutPrefix(ref, "env:"); ok {
		v, ok := env(name)
		switch {
		case !ok:
			return Secret{ref: ref}, fmt.Errorf("environment variable %s is not set", name)
		case v == "":
			return Secret{ref: ref}, fmt.Errorf("environment variable %s is empty", name)
		}
		return Secret{ref: ref, value: v}, nil
	}
	if name, ok := strings.CutPrefix(ref, "file:"); ok {
		name = path(name)
		b, err := readBounded(name, maxSecretFile)
		if err != nil {
			return Secret{ref: ref}, err
		}
		// Editors and `echo` end a file with a newline that is no part of it.
		v := strings.TrimRight(string(b), "\r\n")
		if v == "" {
			return Secret{ref: ref}, fmt.Errorf("file %s is empty", name)
		}
		return Secret{ref: ref, value: v}, nil
	}
	return Secret{ref: "literal", value: ref}, nil
}

func readBounded(name string, limit int64) ([]byte, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() { // a folder, or a pipe that would never end
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s is larger than %s", name, Size(limit))
	}
	return b, nil
}
