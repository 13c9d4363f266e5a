package rewrite

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// WrittenBack looks for what masks left in a body that an agent wants to
// write: who reads a masked object and writes it back would destroy the real
// values. It returns the path of the first such value, "" where there is none.
// body is decoded JSON; fields and typ are as those of a Masker.
func WrittenBack(body any, fields []string, typ string) string {
	return written(body, place{at: []*node{compile(fields, typ)}}, "", typ)
}

func written(v any, p place, at, typ string) string {
	switch v := v.(type) {
	case map[string]any:
		for key, e := range v {
			if found := written(e, p.below(key), at+"/"+key, typ); found != "" {
				return found
			}
		}
	case []any:
		for _, e := range v {
			if found := written(e, p, at, typ); found != "" {
				return found
			}
		}
	case nil:
		if len(p.reached) > 0 {
			return at
		}
	case string:
		if marked(v, len(p.reached) > 0) {
			return at
		}
		if raw, err := base64.StdEncoding.DecodeString(v); err == nil && marked(string(raw), len(p.reached) > 0) {
			return at
		}
		if p.lastApplied() {
			var inner any
			if json.Unmarshal([]byte(v), &inner) == nil {
				return written(inner, place{at: []*node{}}, at, typ)
			}
		}
	}
	return ""
}

// marked reports whether a text is one that masks write. Those that could be
// anybody's count only where a mask reaches.
func marked(s string, reached bool) bool {
	if strings.Contains(s, Withheld) || strings.Contains(s, "[REDACTED:") {
		return true
	}
	return reached && (strings.HasPrefix(s, "***") || strings.HasPrefix(s, "h:") || strings.HasPrefix(s, "tok_"))
}
