package message

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// CheckHeaders holds the headers of a POST against its message. Those of the
// modern era are required there, and have to agree wherever they are. The
// error is a *Refusal.
func CheckHeaders(h http.Header, m *Message, d *Decoded) error {
	for name, values := range h {
		if len(values) > 1 && strings.HasPrefix(http.CanonicalHeaderKey(name), "Mcp-") {
			return refuse(ReasonHeader, "the header %s is there more than once", clip(name))
		}
	}
	version := h.Get(headerVersion)
	modern := d.Detail.Era == "modern"
	inMeta, _ := d.meta[metaVersion].(string)
	switch {
	case version != "" && !Known(version):
		return refuse(ReasonVersion, "the revision %q is not one that regate knows", clip(version))
	case inMeta != "" && version != inMeta, Era(version) == "modern" && version != inMeta && m.Kind == Request:
		return refuse(ReasonHeader, "the header %s and the message name different revisions", headerVersion)
	case modern && version == "":
		return refuse(ReasonHeader, "the header %s is missing", headerVersion)
	}
	if m.Kind == Response {
		return nil
	}
	if err := agree(h, headerMethod, m.Method, modern); err != nil {
		return err
	}
	name := ""
	if known := methods[m.Method]; known.name != "" && len(d.Resource.Names) == 1 {
		name = d.Resource.Names[0]
	}
	required := modern && (m.Method == "tools/call" || m.Method == "resources/read" || m.Method == "prompts/get")
	if name == "" {
		if h.Get(headerName) != "" {
			return refuse(ReasonHeader, "the header %s names something, and the message does not", headerName)
		}
		return nil
	}
	return agree(h, headerName, name, required)
}

// IsParamHeader reports whether a header carries an argument.
func IsParamHeader(name string) bool {
	return strings.HasPrefix(http.CanonicalHeaderKey(name), headerParam)
}

func agree(h http.Header, name, want string, required bool) error {
	got := h.Get(name)
	if got == "" {
		if required {
			return refuse(ReasonHeader, "the header %s is missing", name)
		}
		return nil
	}
	decoded, ok := headerText(got)
	if !ok || decoded != want {
		return refuse(ReasonHeader, "the header %s and the message differ", name)
	}
	return nil
}

// headerText takes a value out of the form that carries what a header cannot.
func headerText(v string) (string, bool) {
	if !strings.HasPrefix(v, base64Begin) || !strings.HasSuffix(v, base64End) {
		return v, true
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(v[len(base64Begin) : len(v)-len(base64End)])
	return string(raw), err == nil && utf8.Valid(raw)
}

// CheckParamHeaders holds the Mcp-Param-* headers against the arguments, by the
// tool's input schema. Headers that the schema does not have are refused: a
// server behind may route by them. The error is a *Refusal.
func CheckParamHeaders(h http.Header, schema any, arguments any) error {
	left := map[string]bool{}
	for name := range h {
		if strings.HasPrefix(http.CanonicalHeaderKey(name), headerParam) {
			left[http.CanonicalHeaderKey(name)] = true
		}
	}
	object, _ := schema.(map[string]any)
	args, _ := arguments.(map[string]any)
	if err := checkProperties(h, object, args, left, 0); err != nil {
		return err
	}
	for name := range left {
		return refuse(ReasonHeader, "the header %s is none of the tool's", clip(name))
	}
	return nil
}

func checkProperties(h http.Header, schema, args map[string]any, left map[string]bool, depth int) error {
	properties, _ := schema["properties"].(map[string]any)
	if depth > 10 {
		return nil
	}
	for name, p := range properties {
		property, _ := p.(map[string]any)
		value := args[name]
		if header, ok := property["x-mcp-header"].(string); ok && header != "" {
			key := http.CanonicalHeaderKey(headerParam + header)
			delete(left, key)
			got := h.Get(key)
			want, there := scalar(value)
			if !there {
				if got != "" {
					return refuse(ReasonHeader, "the header %s is there, and its argument is not", key)
				}
				continue
			}
			if got == "" {
				continue // the server says whether it has to be there
			}
			if text, ok := headerText(got); !ok || text != want {
				return refuse(ReasonHeader, "the header %s and its argument differ", key)
			}
		}
		inner, _ := value.(map[string]any)
		if err := checkProperties(h, property, inner, left, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// SetHeaders copies into headers what the modern era wants there of a message:
// its revision, method, name, and the arguments that the tool's input schema
// names. Messages of the legacy era have none.
func SetHeaders(h http.Header, m *Message, schema any) {
	params, _ := m.Params.(map[string]any)
	meta, _ := params["_meta"].(map[string]any)
	version, _ := meta[metaVersion].(string)
	if Era(version) != "modern" || m.Kind == Response {
		return
	}
	h.Set(headerVersion, version)
	h.Set(headerMethod, m.Method)
	if name, ok := params[methods[m.Method].name].(string); ok && name != "" {
		h.Set(headerName, headerValue(name))
	}
	setParams(h, schema, params["arguments"], 0)
}

func setParams(h http.Header, schema, arguments any, depth int) {
	object, _ := schema.(map[string]any)
	properties, _ := object["properties"].(map[string]any)
	args, _ := arguments.(map[string]any)
	if depth > 10 || args == nil {
		return
	}
	for name, p := range properties {
		property, _ := p.(map[string]any)
		if header, ok := property["x-mcp-header"].(string); ok && header != "" {
			if text, ok := scalar(args[name]); ok {
				h.Set(headerParam+header, headerValue(text))
			}
		}
		setParams(h, property, args[name], depth+1)
	}
}

// scalar is an argument as a header has it.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case json.Number:
		return v.String(), true
	}
	return "", false
}

// headerValue is text in the form that carries what a header cannot.
func headerValue(text string) string {
	plain := text == strings.TrimSpace(text) && !strings.HasPrefix(text, base64Begin)
	for i := range len(text) {
		plain = plain && text[i] >= ' ' && text[i] < 0x7f
	}
	if plain {
		return text
	}
	return base64Begin + base64.StdEncoding.EncodeToString([]byte(text)) + base64End
}
