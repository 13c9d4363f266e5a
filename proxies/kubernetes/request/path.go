package request

import (
	"strings"
	"unicode/utf8"
)

// unreserved are the characters that never need an escape (RFC 3986, 2.3).
func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// decodePath decodes the path of a request target. The API server routes on
// the decoded path, and whoever stands in between may not: a path is refused
// where a second decoding, or cleaning, would make another one of it.
func decodePath(raw string) (string, *Refusal) {
	const hint = "Send the path as kubectl does: no escaped slashes or letters, no empty or dot segments."
	if !strings.HasPrefix(raw, "/") {
		return "", refuse(ReasonPath, hint, "the request target is not a path")
	}
	var b strings.Builder
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case c == '%':
			if i+2 >= len(raw) || !isHex(raw[i+1]) || !isHex(raw[i+2]) {
				return "", refuse(ReasonPath, hint, "the path has a broken escape")
			}
			c = unhex(raw[i+1])<<4 | unhex(raw[i+2])
			if c < ' ' || c == 0x7f || strings.IndexByte(`/\%?#`, c) >= 0 || unreserved(c) {
				return "", refuse(ReasonPath, hint, "the path has the escape %s, which another reader may take for something else", raw[i:i+3])
			}
			i += 2
		case c <= ' ' || c >= 0x7f || strings.IndexByte(`\"<>^`+"`{|}#", c) >= 0:
			return "", refuse(ReasonPath, hint, "the path has a character that must be escaped")
		}
		b.WriteByte(c)
	}
	path := b.String()
	if !utf8.ValidString(path) {
		return "", refuse(ReasonPath, hint, "the path is not UTF-8")
	}
	segments := strings.Split(path[1:], "/")
	for i, s := range segments {
		if s == "" && i == len(segments)-1 {
			continue // a slash at the end: "/", "/api/"
		}
		if s == "" || s == "." || s == ".." {
			return "", refuse(ReasonPath, hint, "the path has an empty or dot segment")
		}
	}
	return path, nil
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	}
	return c - '0'
}
