package mask

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
)

// Longest parts of a token that are looked at, in bytes. Headers with a
// certificate chain reach a few KB; claims with group lists more.
const (
	maxJWTHeader = 4 << 10
	maxJWT       = 16 << 10
)

var jwtStart = []byte("eyJ") // base64url of {"

// findJWT reports tokens in compact form: three parts (JWS) or five (JWE),
// whose header decodes to a JSON object with an "alg".
func findJWT(text []byte, dst []Finding) []Finding {
	for i := 0; ; {
		k := bytes.Index(text[i:], jwtStart)
		if k < 0 {
			return dst
		}
		i += k
		end := jwtEnd(text, i)
		if end > i {
			dst = append(dst, Finding{KindJWT, i, end})
		}
		i += len(jwtStart)
	}
}

// jwtEnd returns where the token that starts at text[start:] ends, start when
// there is none.
func jwtEnd(text []byte, start int) int {
	limit := min(len(text), start+maxJWT)
	dots, head, i := 0, 0, start
	for ; i < limit; i++ {
		c := text[i]
		if c == '.' {
			if dots == 0 {
				if head = i; head-start > maxJWTHeader {
					return start
				}
			}
			if dots++; dots > 4 {
				break
			}
			continue
		}
		if !isBase64URL(c) {
			break
		}
	}
	if dots < 2 {
		return start
	}
	if dots == 3 || dots > 4 {
		// More dots than a JWS has, fewer or more than a JWE: what follows the
		// third part is other text, as the full stop of a sentence.
		dots, i = 0, start
		for ; i < limit; i++ {
			if text[i] == '.' {
				if dots++; dots == 3 {
					break
				}
			}
		}
	}
	// The claims of a JWS are a JSON object too; a JWE's key may be anything.
	if !jwtHeader(text[start:head]) {
		return start
	}
	return i
}

// settledJWT returns where text can be cut at or before cut: before a token
// that reaches to the end.
func settledJWT(text []byte, cut int) int {
	i := len(text)
	for i > 0 && i > len(text)-maxJWT && (isBase64URL(text[i-1]) || text[i-1] == '.') {
		i--
	}
	if k := bytes.Index(text[i:], jwtStart); k >= 0 {
		return min(cut, i+k)
	}
	return cut
}

func isBase64URL(c byte) bool { return isAlnum(rune(c)) || c == '-' || c == '_' }

func jwtHeader(part []byte) bool {
	var buf [maxJWTHeader]byte
	n, err := base64.RawURLEncoding.Decode(buf[:], part)
	if err != nil {
		return false
	}
	head := buf[:n]
	return bytes.Contains(head, []byte(`"alg"`)) && json.Valid(head)
}
