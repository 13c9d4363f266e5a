package request

import (
	"fmt"
	"strings"
)

// lastApplied is where kubectl apply keeps the whole object in clear text.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// withhold replaces the values of Secrets in a body by what fingerprint makes
// of them. Neither policies nor records need a secret; that it is the same one
// as was approved, they do. It changes value in place.
func withhold(value any, secret bool, fingerprint func([]byte) string) any {
	w := withholder{fingerprint}
	if list, ok := value.([]any); ok && secret {
		for _, op := range list { // a JSON patch
			o, ok := op.(map[string]any)
			if !ok {
				continue
			}
			path := text(o["path"])
			if v, there := o["value"]; there && (!strings.HasPrefix(path, "/metadata") || strings.HasPrefix(path, "/metadata/annotations")) {
				o["value"] = w.all(v)
			} else if there && path == "/metadata" {
				o["value"] = w.all(v)
			}
		}
		return value
	}
	return w.walk(value, secret)
}

type withholder struct{ fingerprint func([]byte) string }

func (w withholder) walk(v any, secret bool) any {
	switch v := v.(type) {
	case []any:
		for i, e := range v {
			v[i] = w.walk(e, false)
		}
	case map[string]any:
		kind := text(v["kind"])
		secret = secret || kind == "Secret"
		for key, e := range v {
			switch {
			case secret && (key == "data" || key == "stringData"):
				v[key] = w.all(e)
			case secret && key == "metadata":
				v[key] = w.annotations(e)
			case kind == "TokenReview" && key == "spec":
				v[key] = w.all(e)
			default:
				v[key] = w.walk(e, false)
			}
		}
	}
	return v
}

// annotations withholds those of a Secret that repeat it.
func (w withholder) annotations(v any) any {
	metadata, ok := v.(map[string]any)
	if !ok {
		return v
	}
	list, ok := metadata["annotations"].(map[string]any)
	if !ok {
		return v
	}
	if e, there := list[lastApplied]; there {
		list[lastApplied] = w.all(e)
	}
	return v
}

// all replaces every string and number below v.
func (w withholder) all(v any) any {
	switch v := v.(type) {
	case []any:
		for i, e := range v {
			v[i] = w.all(e)
		}
		return v
	case map[string]any:
		for key, e := range v {
			v[key] = w.all(e)
		}
		return v
	case nil, bool:
		return v
	case string:
		return w.fingerprint([]byte(v))
	default:
		return w.fingerprint([]byte(fmt.Sprint(v)))
	}
}
