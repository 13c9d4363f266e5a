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
	root := compile(fields, typ)
	root.bind(nil, nil)
	return written(body, root.top(), "", typ)
}

func written(v any, p place, at, typ string) string {
	switch v := v.(type) {
	case map[string]any:
		for key, e := range v {
			if found := written(e, p.below(typ, []byte(key)), at+"/"+key, typ); found != "" {
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
		if p.rule != nil {
			return at
		}
	case string:
		if marked(v, p.rule != nil) {
			return at
		}
		if raw, err := base64.StdEncoding.DecodeString(v); err == nil && marked(string(raw), p.rule != nil) {
			return at
		}
		if p.spot == spotApplied {
			var inner any
			if json.Unmarshal([]byte(v), &inner) == nil {
				return written(inner, place{spot: spotRoot}, at, typ)
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
