package policy

import (
	"errors"
	"slices"

	"github.com/open-policy-agent/opa/v1/bundle"
)

// ReadBundle reads a folder or a tarball the way the gateway does, with every
// bound of its own, and gives it back as OPA's. Tests (…_test.rego) are left
// out unless they are asked for. maxBytes 0 means the default of 64 MiB.
// Nothing is compiled, and no signature is checked.
func ReadBundle(path string, maxBytes int64, tests bool) (*bundle.Bundle, error) {
	s := &localSource{path: path, id: path, limit: maxBytes, keepTests: tests}
	if maxBytes <= 0 {
		s.limit = defaultMaxBytes
	}
	b, _, err := s.read()
	if err != nil {
		return nil, errors.Join(toErrors(problemList(err))...)
	}
	b.Modules = slices.Concat(b.Modules, s.tests)
	return b, nil
}

func toErrors(list []string) []error {
	out := make([]error, len(list))
	for i, text := range list {
		out[i] = errors.New(text)
	}
	return out
}
