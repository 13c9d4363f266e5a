package request

import (
	"bytes"
	"encoding/json"
	"mime"
	"regexp"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"sigs.k8s.io/yaml"
)

// body is a decoded request body.
type body struct {
	contentType string // without parameters
	format      string // "none", "json", "yaml" or "protobuf"
	patch       string // kind of patch, "" for an object
	value       any    // maps, slices, strings, bools, json.Number, nil
}

// patchTypes are the media types of PATCH. The API server compares them as
// they are, up to a semicolon.
var patchTypes = map[string]string{
	"application/json-patch+json":            "json",
	"application/merge-patch+json":           "merge",
	"application/strategic-merge-patch+json": "strategic",
	"application/apply-patch+yaml":           "apply",
}

// decodeBody decodes a body as the API server does. No Content-Type is JSON.
func decodeBody(raw []byte, contentType, method string) (body, *Refusal) {
	b := body{format: "none"}
	if len(raw) == 0 {
		return b, nil
	}
	if len(raw) > MaxBody {
		return b, refuse(ReasonTooLarge, "", "the body is larger than %d bytes", MaxBody)
	}
	if method == "GET" || method == "HEAD" {
		return b, refuse(ReasonBody, "Send no body with it.", "a read has a body")
	}
	media := "application/json"
	if contentType != "" {
		var err error
		if media, _, err = mime.ParseMediaType(contentType); err != nil {
			return b, refuse(ReasonMedia, "", "the Content-Type cannot be read")
		}
		b.contentType = media
	}
	if method == "PATCH" {
		kind, known := patchTypes[media]
		if !known {
			return b, refuse(ReasonMedia, "Use a JSON patch, a merge patch, a strategic merge patch or an apply.", "a patch of type %q cannot be read", contentType)
		}
		b.patch = kind
		if kind != "apply" {
			media = "application/json"
		} else {
			media = "application/yaml"
		}
	}
	var refusal *Refusal
	switch media {
	case "application/json":
		b.format = "json"
		b.value, refusal = decodeJSON(raw)
	case "application/yaml":
		b.format = "yaml"
		b.value, refusal = decodeYAML(raw)
	case "application/vnd.kubernetes.protobuf":
		b.format = "protobuf"
		b.value, refusal = decodeProtobuf(raw)
	default:
		refusal = refuse(ReasonMedia, "Send JSON.", "a body of type %q cannot be read", contentType)
	}
	if refusal != nil {
		return b, refusal
	}
	_, isList := b.value.([]any)
	_, isObject := b.value.(map[string]any)
	if b.patch == "json" && !isList || b.patch != "json" && !isObject {
		return b, refuse(ReasonBody, "", "the body is not what its Content-Type says")
	}
	return b, nil
}

// maxDepth bounds how deep a body may be nested. The deepest of the API's own
// types, schemas in CustomResourceDefinitions, are far below it.
const maxDepth = 512

func decodeJSON(raw []byte) (any, *Refusal) {
	// Duplicate names and text that is not UTF-8 are read in more than one way.
	dec := jsontext.NewDecoder(bytes.NewReader(raw))
	for {
		_, err := dec.ReadToken()
		if err != nil {
			return nil, refuse(ReasonBody, "", "the body is not well-formed JSON: %v", err)
		}
		if dec.StackDepth() > maxDepth {
			return nil, refuse(ReasonBody, "", "the body is nested too deep")
		}
		if dec.StackDepth() == 0 {
			break
		}
	}
	if rest := raw[dec.InputOffset():]; len(bytes.TrimLeft(rest, " \t\r\n")) > 0 {
		return nil, refuse(ReasonBody, "Send one object in a request.", "something follows the body's JSON")
	}
	plain := json.NewDecoder(bytes.NewReader(raw))
	plain.UseNumber()
	var v any
	if err := plain.Decode(&v); err != nil {
		return nil, refuse(ReasonBody, "", "the body is not well-formed JSON: %v", err)
	}
	return v, nil
}

// another matches what begins or ends a YAML document.
var another = regexp.MustCompile(`(?m)^(---|\.\.\.)`)

func decodeYAML(raw []byte) (any, *Refusal) {
	if !utf8.Valid(raw) || bytes.ContainsRune(raw, 0) || bytes.HasPrefix(raw, []byte("\xef\xbb\xbf")) {
		return nil, refuse(ReasonBody, "", "the body is not plain UTF-8")
	}
	// The API server reads the first document and leaves the others out. A line
	// may also end with U+0085, U+2028 or a lone carriage return.
	if bytes.ContainsAny(raw, "\u0085\u2028\u2029") {
		return nil, refuse(ReasonBody, "", "the body has line ends that are read in more than one way")
	}
	lines := bytes.ReplaceAll(raw, []byte("\r"), []byte("\n"))
	if marks := another.FindAllIndex(lines, -1); len(marks) > 1 || len(marks) == 1 && !onlyComments(lines[:marks[0][0]]) {
		return nil, refuse(ReasonBody, "Send one object in a request.", "the body has more than one YAML document")
	}
	text, err := yaml.YAMLToJSONStrict(raw)
	if err != nil {
		return nil, refuse(ReasonBody, "", "the body is not well-formed YAML: %v", err)
	}
	return decodeJSON(text)
}

func onlyComments(text []byte) bool {
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return false
		}
	}
	return true
}
