package identity

import (
	"errors"
	"fmt"
	"strings"
)

// claimPath is a parsed claim path: the keys to follow from the top.
type claimPath []string

// parsePath reads both forms described at Claims.
func parsePath(s string) (claimPath, error) {
	if s == "" {
		return nil, errors.New("a claim path is empty")
	}
	if rest, ok := strings.CutPrefix(s, "/"); ok {
		keys := strings.Split(rest, "/")
		for i, k := range keys {
			for j := range len(k) {
				if k[j] == '~' && (j+1 == len(k) || (k[j+1] != '0' && k[j+1] != '1')) {
					return nil, fmt.Errorf("claim path %q: a tilde must be followed by 0 or 1", s)
				}
			}
			keys[i] = strings.ReplaceAll(strings.ReplaceAll(k, "~1", "/"), "~0", "~")
		}
		return keys, nil
	}
	var keys claimPath
	var key strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
			if i == len(s) {
				return nil, fmt.Errorf("claim path %q ends with a backslash", s)
			}
			key.WriteByte(s[i])
		case '.':
			keys = append(keys, key.String())
			key.Reset()
		default:
			key.WriteByte(s[i])
		}
	}
	keys = append(keys, key.String())
	for _, k := range keys {
		if k == "" {
			return nil, fmt.Errorf("claim path %q has an empty part", s)
		}
	}
	return keys, nil
}

func parsePaths(list []string) ([]claimPath, error) {
	paths := make([]claimPath, 0, len(list))
	var errs []error
	for _, s := range list {
		p, err := parsePath(s)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		paths = append(paths, p)
	}
	return paths, errors.Join(errs...)
}

// in returns the value at the path, nil where there is none.
func (p claimPath) in(claims map[string]any) any {
	var v any = claims
	for _, k := range p {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[k]
	}
	return v
}

// ClaimValues returns the strings at a claim path (see Claims): one for a
// string, each element of a list of strings, none where there is nothing. An
// error is a path that cannot be read.
func ClaimValues(claims map[string]any, path string) ([]string, error) {
	p, err := parsePath(path)
	if err != nil {
		return nil, err
	}
	switch v := p.in(claims).(type) {
	case string:
		return []string{v}, nil
	case []any:
		var out []string
		for _, e := range v {
			if s, ok := e.(string); ok {
				out = append(out, s)
			}
		}
		return out, nil
	}
	return nil, nil
}
