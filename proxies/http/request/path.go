package request

import (
	"strings"
	"unicode/utf8"
)

// Bounds of a path.
const (
	maxPath     = 8 << 10
	maxSegments = 128
)

// pathRules are what a target lets through beside the plain.
type pathRules struct {
	encodedSlash bool // %2F within a segment
	parameters   bool // ";" within a segment
}

// splitPath returns the decoded segments of a raw path, which is sent as it
// is. The last one is not empty where the path ends in "/".
func splitPath(raw string, rules pathRules) ([]string, error) {
	if raw == "" || raw[0] != '/' {
		return nil, refuse(ReasonTarget, "Send a path that begins with /.", "the path does not begin with /")
	}
	if len(raw) > maxPath {
		return nil, refuse(ReasonTooLong, "", "the path is longer than %d bytes", maxPath)
	}
	segments := []string{}
	rest := raw[1:]
	for {
		segment, more, found := strings.Cut(rest, "/")
		if segment == "" {
			if !found {
				break // the root, or a "/" at the end
			}
			return nil, refuse(ReasonEmptySegment, "Send the path without //.", "the path has an empty segment")
		}
		decoded, err := decodeSegment(segment, rules)
		if err != nil {
			return nil, err
		}
		segments = append(segments, decoded)
		if len(segments) > maxSegments {
			return nil, refuse(ReasonTooLong, "", "the path has more than %d segments", maxSegments)
		}
		if !found {
			break
		}
		rest = more
	}
	return segments, nil
}

func decodeSegment(raw string, rules pathRules) (string, error) {
	b := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case c == '%':
			v, ok := hexByte(raw, i)
			if !ok {
				return "", refuse(ReasonPathEncoding, "Write % as %25.", "the path has a broken percent-encoding")
			}
			i += 2
			switch {
			case v == '/' && !rules.encodedSlash, v == '\\':
				return "", refuse(ReasonEncodedSlash, "A target can be told to let %2F through: request.encoded_slash.", "the path has an encoded slash or backslash")
			case v == ';' && !rules.parameters:
				return "", refuse(ReasonPathParameter, "", "the path has a path parameter")
			case v < ' ' || v == 0x7f:
				return "", refuse(ReasonPathEncoding, "", "the path has an encoded control byte")
			}
			c = v
		case c == '\\':
			return "", refuse(ReasonEncodedSlash, "", "the path has a backslash")
		case c == ';' && !rules.parameters:
			return "", refuse(ReasonPathParameter, "A target can be told to let ; through: request.path_parameters.", "the path has a path parameter")
		case c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>^`{|}?#[]", c) >= 0:
			return "", refuse(ReasonPathEncoding, "Percent-encode it.", "the path has a byte that has to be encoded")
		}
		b = append(b, c)
	}
	s := string(b)
	name, _, _ := strings.Cut(s, ";") // some servers cut the parameter off before they resolve dots
	switch {
	case name == "." || name == ".." || s == "." || s == "..":
		return "", refuse(ReasonDotSegment, "Send the path without . and .. segments.", "the path has a dot segment")
	case !utf8.ValidString(s):
		return "", refuse(ReasonPathEncoding, "", "the path is not UTF-8")
	}
	if rules.encodedSlash {
		for part := range strings.SplitSeq(s, "/") {
			if part == "." || part == ".." || part == "" {
				return "", refuse(ReasonDotSegment, "", "the path has a dot segment or an empty one behind an encoded slash")
			}
		}
	}
	// What is decoded once more must not turn into another path.
	for i := range len(s) {
		if s[i] != '%' {
			continue
		}
		if v, ok := hexByte(s, i); ok && (v == '.' || v == '/' || v == '\\' || v == '%' || v == ';' || v < ' ' || v == 0x7f) {
			return "", refuse(ReasonPathEncoding, "Encode the path once.", "the path is encoded twice")
		}
	}
	return s, nil
}

// hexByte reads the percent-encoded byte at s[i].
func hexByte(s string, i int) (byte, bool) {
	if i+2 >= len(s) {
		return 0, false
	}
	hi, ok := hexDigit(s[i+1])
	lo, ok2 := hexDigit(s[i+2])
	return hi<<4 | lo, ok && ok2
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
