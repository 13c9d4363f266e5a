package message

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

const maxURI = 8 << 10

// CanonicalURI checks the URI of a resource and returns its scheme in lower
// case. A URI that climbs, in whatever encoding, is refused: servers resolve it
// in different ways.
func CanonicalURI(uri string) (scheme string, err error) {
	scheme, rest, found := strings.Cut(uri, ":")
	switch {
	case len(uri) > maxURI:
		return "", refuse(ReasonURI, "the resource's URI is longer than %d bytes", maxURI)
	case !found || scheme == "" || !isScheme(scheme):
		return "", refuse(ReasonURI, "the resource's URI has no scheme")
	case !utf8.ValidString(uri) || strings.ContainsFunc(uri, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' || invisible(r) }):
		return "", refuse(ReasonURI, "the resource's URI has a character that cannot be seen, or a backslash")
	}
	path, _, _ := strings.Cut(rest, "?")
	path, _, _ = strings.Cut(path, "#")
	for i := 0; ; i++ {
		for part := range strings.SplitSeq(path, "/") {
			if part == ".." || part == "." {
				return "", refuse(ReasonURI, "the resource's URI has a dot segment")
			}
		}
		decoded, err := url.PathUnescape(path)
		if err != nil {
			return "", refuse(ReasonURI, "the resource's URI has a broken percent-encoding")
		}
		if decoded == path {
			break
		}
		if i > 0 && (strings.ContainsAny(decoded, "/\\") && !strings.ContainsAny(path, "/\\") || i > 3) {
			return "", refuse(ReasonURI, "the resource's URI is encoded more than once")
		}
		if strings.ContainsAny(decoded, "\\\x00") || !utf8.ValidString(decoded) || strings.Count(decoded, "/") != strings.Count(path, "/") {
			return "", refuse(ReasonURI, "the resource's URI has an encoded slash, backslash or NUL, or is not UTF-8")
		}
		path = decoded
	}
	return strings.ToLower(scheme), nil
}

func isScheme(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || s[i] < '0' || s[i] > '9') && (i == 0 || s[i] != '+' && s[i] != '-' && s[i] != '.') {
			return false
		}
	}
	return true
}
