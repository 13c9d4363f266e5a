package identity

import (
	"fmt"
	"strconv"
	"strings"
)

// pattern is a value with stars, split at them: the runs of literal text
// between stars. One run means no star.
type pattern []string

func parsePattern(s string) (pattern, error) {
	var p pattern
	var run strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
			if i == len(s) {
				return nil, fmt.Errorf("pattern %q ends with a backslash", s)
			}
			run.WriteByte(s[i])
		case '*':
			p = append(p, run.String())
			run.Reset()
		default:
			run.WriteByte(s[i])
		}
	}
	return append(p, run.String()), nil
}

// match runs in time linear in the value for each run of the pattern.
func (p pattern) match(s string) bool {
	first, rest := p[0], p[1:]
	s, ok := strings.CutPrefix(s, first)
	if len(rest) == 0 {
		return ok && s == ""
	}
	if !ok {
		return false
	}
	for _, run := range rest[:len(rest)-1] {
		i := strings.Index(s, run)
		if i < 0 {
			return false
		}
		s = s[i+len(run):]
	}
	return strings.HasSuffix(s, rest[len(rest)-1])
}

// requirement is one required claim.
type requirement struct {
	path     claimPath
	patterns []pattern // none: present and not null
}

func (r requirement) met(claims map[string]any) bool {
	v := r.path.in(claims)
	if v == nil {
		return false
	}
	if len(r.patterns) == 0 {
		return true
	}
	if list, ok := v.([]any); ok {
		for _, e := range list {
			if r.matches(e) {
				return true
			}
		}
		return false
	}
	return r.matches(v)
}

func (r requirement) matches(v any) bool {
	text, ok := scalar(v)
	if !ok {
		return false
	}
	for _, p := range r.patterns {
		if p.match(text) {
			return true
		}
	}
	return false
}

// scalar returns a string, number or boolean as text.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	}
	return "", false
}
