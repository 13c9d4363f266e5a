package request

import (
	"fmt"
	"maps"
	"strings"
)

// lastApplied is where kubectl apply keeps the whole object in clear text.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// withhold returns a body without the values of Secrets: in their place is what
// fingerprint makes of them. Neither policies nor records need a secret; that it
// is the same one as was approved, they do.
func withhold(value any, secret bool, fingerprint func([]byte) string) any {
	w := withholder{fingerprint: fingerprint}
	list, ok := value.([]any)
	if !ok || !secret {
		return w.walk(value, secret)
	}
	out := make([]any, len(list))
	for i, op := range list { // a JSON patch
		o, ok := op.(map[string]any)
		if !ok {
			out[i] = op
			continue
		}
		shown := map[string]any{}
		path := text(o["path"])
		for key, v := range o {
			if key == "value" && (path == "/metadata" || !strings.HasPrefix(path, "/metadata/") || strings.HasPrefix(path, "/metadata/annotations")) {
				v = w.all(v)
			}
			shown[key] = v
		}
		out[i] = shown
	}
	return out
}

type withholder struct {
	fingerprint func([]byte) string
	// stored: the object is what the cluster holds, not what the agent says. What
	// others put there is withheld where it is likely to be a secret.
	stored bool
}

func (w withholder) walk(v any, secret bool) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = w.walk(e, false)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		kind := text(v["kind"])
		secret = secret || kind == "Secret"
		for key, e := range v {
			switch {
			case secret && (key == "data" || key == "stringData"), kind == "TokenReview" && key == "spec":
				out[key] = w.all(e)
			case w.stored && kind == "ConfigMap" && (key == "data" || key == "binaryData"), w.stored && key == lastApplied:
				out[key] = w.all(e)
			case w.stored && key == "env":
				out[key] = w.variables(e)
			case secret && key == "metadata" && !w.stored:
				out[key] = w.annotations(e)
			default:
				out[key] = w.walk(e, false)
			}
		}
		return out
	}
	return v
}

// variables withholds the values of environment variables.
func (w withholder) variables(v any) any {
	list, ok := v.([]any)
	if !ok {
		return w.walk(v, false)
	}
	out := make([]any, len(list))
	for i, e := range list {
		out[i] = w.walk(e, false)
		if shown, ok := out[i].(map[string]any); ok && shown["value"] != nil {
			shown["value"] = w.all(shown["value"])
		}
	}
	return out
}

// annotations withholds those of a Secret that repeat it.
func (w withholder) annotations(v any) any {
	metadata, ok := v.(map[string]any)
	if !ok {
		return v
	}
	list, ok := metadata["annotations"].(map[string]any)
	if !ok || list[lastApplied] == nil {
		return v
	}
	metadata, list = maps.Clone(metadata), maps.Clone(list)
	list[lastApplied] = w.all(list[lastApplied])
	metadata["annotations"] = list
	return metadata
}

// all replaces every string and number below v.
func (w withholder) all(v any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = w.all(e)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, e := range v {
			out[key] = w.all(e)
		}
		return out
	case nil, bool:
		return v
	default:
		return w.fingerprint([]byte(fmt.Sprint(v)))
	}
}
