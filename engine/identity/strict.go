package identity

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

const (
	// maxToken is the largest token looked at. Headers of 8 to 16 KiB are what
	// common HTTP servers take; a larger token is an attack or a mistake.
	maxToken = 16 << 10
	// maxDepth bounds the nesting of a token's JSON: what follows (canonical
	// JSON, the policy evaluator) recurses.
	maxDepth = 32
)

// jwt is a token taken apart, nothing of it verified.
type jwt struct {
	alg    string
	typ    string
	kid    string
	hasKID bool
	claims map[string]any
}

var b64 = base64.RawURLEncoding.Strict()

// parseJWT takes a compact JWS apart and refuses whatever two parsers could
// read differently: white space, padding, duplicate members, members that
// differ from a registered claim only by case, invalid UTF-8, deep nesting.
func parseJWT(token string) (*jwt, error) {
	if len(token) > maxToken {
		return nil, Refusal(ReasonOversized, nil)
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" {
		return nil, Refusal(ReasonMalformed, nil)
	}
	header, err := object(parts[0])
	if err != nil {
		return nil, err
	}
	claims, err := object(parts[1])
	if err != nil {
		return nil, err
	}
	if _, err := decode64(parts[2]); err != nil {
		return nil, Refusal(ReasonMalformed, nil)
	}
	t := &jwt{claims: claims}
	// regate understands no extension, and an unencoded payload (b64) is one.
	if _, ok := header["crit"]; ok {
		return nil, Refusal(ReasonMalformed, nil)
	}
	if _, ok := header["b64"]; ok {
		return nil, Refusal(ReasonMalformed, nil)
	}
	var ok bool
	if t.alg, ok = header["alg"].(string); !ok {
		return nil, Refusal(ReasonMalformed, nil)
	}
	if v, present := header["typ"]; present {
		if t.typ, ok = v.(string); !ok {
			return nil, Refusal(ReasonMalformed, nil)
		}
	}
	if v, present := header["kid"]; present {
		if t.kid, ok = v.(string); !ok {
			return nil, Refusal(ReasonMalformed, nil)
		}
		t.hasKID = true
	}
	// An unsigned token is named for what it is, before "malformed".
	if parts[2] == "" && !strings.EqualFold(t.alg, "none") {
		return nil, Refusal(ReasonMalformed, nil)
	}
	return t, nil
}

func object(part string) (map[string]any, error) {
	raw, err := decode64(part)
	if err != nil {
		return nil, Refusal(ReasonMalformed, nil)
	}
	if err := checkJSON(raw); err != nil {
		return nil, Refusal(ReasonMalformed, nil)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, Refusal(ReasonMalformed, nil)
	}
	return m, nil
}

func decode64(s string) ([]byte, error) {
	// The decoder skips line breaks; a token has none.
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("line break")
	}
	return b64.DecodeString(s)
}

// registered are the members that this package or go-oidc reads by name;
// go-oidc reads them without regard to case.
var registered = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "act", "alg", "typ", "kid", "crit"}

// checkJSON accepts one JSON object without duplicate members, nested no
// deeper than maxDepth.
func checkJSON(raw []byte) error {
	if !utf8.Valid(raw) {
		return errors.New("invalid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	type frame struct {
		keys    map[string]struct{} // nil for a list
		wantKey bool
	}
	var stack []frame
	for {
		tok, err := dec.Token()
		if err != nil {
			return err // io.EOF too: the object is not complete
		}
		if len(stack) > 0 {
			top := &stack[len(stack)-1]
			if top.keys != nil {
				if key, ok := tok.(string); ok && top.wantKey {
					if _, dup := top.keys[key]; dup {
						return errors.New("duplicate member")
					}
					if len(stack) == 1 {
						for _, name := range registered {
							if key != name && strings.EqualFold(key, name) {
								return fmt.Errorf("member differs from %s by case", name)
							}
						}
					}
					top.keys[key] = struct{}{}
					top.wantKey = false
					continue
				}
				top.wantKey = true
			}
		} else if tok != json.Delim('{') {
			return errors.New("not an object")
		}
		switch tok {
		case json.Delim('{'):
			stack = append(stack, frame{keys: map[string]struct{}{}, wantKey: true})
		case json.Delim('['):
			stack = append(stack, frame{})
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
			if len(stack) > 0 && stack[len(stack)-1].keys != nil {
				stack[len(stack)-1].wantKey = true
			}
		}
		if len(stack) > maxDepth {
			return errors.New("nested too deep")
		}
		if len(stack) == 0 {
			if _, err := dec.Token(); err != io.EOF {
				return errors.New("more than one value")
			}
			return nil
		}
	}
}
