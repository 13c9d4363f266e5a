package request

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxFields bounds the parameters of a query and the fields of a form.
const maxFields = 1000

// pairs is what a query or an urlencoded body says.
type pairs struct {
	values   map[string][]string
	names    []string // sorted
	repeated []string // names that are there more than once, sorted
}

// splitPairs reads "a=1&b=2". reason is that of what cannot be read.
func splitPairs(raw, reason string) (pairs, error) {
	p := pairs{values: map[string][]string{}, names: []string{}, repeated: []string{}}
	if raw == "" {
		return p, nil
	}
	if strings.IndexByte(raw, ';') >= 0 {
		r := ReasonQuerySemicolon
		if reason != ReasonQuery {
			r = reason
		}
		return p, refuse(r, "Write ; as %3B.", "a parameter has a bare semicolon, which some servers take for &")
	}
	n := 0
	for pair := range strings.SplitSeq(raw, "&") {
		if n++; n > maxFields {
			return p, refuse(ReasonTooLong, "", "there are more than %d parameters", maxFields)
		}
		if pair == "" {
			continue
		}
		k, v, _ := strings.Cut(pair, "=")
		key, err := decodePair(k, reason)
		if err != nil {
			return p, err
		}
		value, err := decodePair(v, reason)
		if err != nil {
			return p, err
		}
		p.values[key] = append(p.values[key], value)
	}
	p.names = slices.AppendSeq(p.names, maps.Keys(p.values))
	slices.Sort(p.names)
	for _, name := range p.names {
		if len(p.values[name]) > 1 {
			p.repeated = append(p.repeated, name)
		}
	}
	return p, nil
}

func decodePair(raw, reason string) (string, error) {
	b := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%':
			v, ok := hexByte(raw, i)
			if !ok {
				return "", refuse(reason, "Write % as %25.", "a parameter has a broken percent-encoding")
			}
			if v == 0 {
				return "", refuse(reason, "", "a parameter has a NUL byte")
			}
			c, i = v, i+2
		case c <= ' ' || c == 0x7f || c == '#':
			return "", refuse(reason, "Percent-encode it.", "a parameter has a byte that has to be encoded")
		}
		b = append(b, c)
	}
	if !utf8.Valid(b) {
		return "", refuse(reason, "", "a parameter is not UTF-8")
	}
	return string(b), nil
}

// mayRepeat reports whether a parameter may be there more than once.
func mayRepeat(name string, lists []string) bool {
	return strings.HasSuffix(name, "[]") || slices.Contains(lists, name) || slices.Contains(lists, "*")
}
