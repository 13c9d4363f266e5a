package lint

import (
	"slices"
	"strconv"
	"strings"
)

// path is a place in the input: its keys, without "input". any stands for every
// element of an array and every value of an object.
type path []string

const anyKey = "*"

func (p path) String() string {
	var b strings.Builder
	b.WriteString("input")
	for _, key := range p {
		switch {
		case key == anyKey:
			b.WriteString("[_]")
		case isName(key):
			b.WriteString("." + key)
		default:
			b.WriteString("[" + strconv.Quote(key) + "]")
		}
	}
	return b.String()
}

func isName(s string) bool {
	for i, r := range s {
		if r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

// with returns the path one key longer. It never shares memory.
func (p path) with(key string) path { return append(slices.Clone(p), key) }

// plural reports whether it stands for several values at once.
func (p path) plural() bool { return slices.Contains(p, anyKey) }

// under reports whether p is prefix or below it. A "*" matches any key.
func (p path) under(prefix ...string) bool {
	if len(p) < len(prefix) {
		return false
	}
	for i, key := range prefix {
		if p[i] != key && p[i] != anyKey && key != anyKey {
			return false
		}
	}
	return true
}

// is reports whether p is exactly these keys.
func (p path) is(keys ...string) bool { return slices.Equal(p, keys) }

// key makes it a key of a map.
func (p path) key() string { return strings.Join(p, "\x00") }
