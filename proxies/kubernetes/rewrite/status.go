package rewrite

import (
	"bytes"
	"regexp"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// plainReasons are the reasons of a Status whose message quotes nothing of an
// object but its name.
var plainReasons = []string{"NotFound", "AlreadyExists", "Conflict", "Expired", "Gone", "Timeout", "ServerTimeout", "TooManyRequests", "Unauthorized", "MethodNotAllowed", "NotAcceptable", "UnsupportedMediaType"}

// byRights is the message of the API server's own authorizer.
var byRights = regexp.MustCompile(`^[a-z0-9.-]+ "[^"]*" is forbidden: User "[^"]*" cannot [a-z]+ resource "[^"]*" in API group "[^"]*"( in the namespace "[^"]*"| at the cluster scope)?$`)

// quoteWithheld is the message of a Status that may quote a masked value.
const quoteWithheld = `"[withheld by regate: the message may quote a masked value]"`

// status masks an error's Status at i and returns its end. Admission can make
// it quote any field.
func (w *walk) status(i int) int {
	end := valueEnd(w.src, i)
	reason, message := statusOf(w.src[i:end])
	quotes := w.m.Reaches() && !slices.Contains(plainReasons, reason) && !byRights.MatchString(message)
	var texts func(key []byte, i int) int
	texts = func(key []byte, i int) int {
		switch w.src[i] {
		case '{':
			return w.members(i, texts)
		case '[':
			return w.elements(i, func(i int) int { return texts(key, i) })
		case '"':
			if quotes && string(key) == "message" {
				end := stringEnd(w.src, i)
				w.m.Changed = true
				w.replace(i, end, quoteWithheld)
				return end
			}
			return w.text(i, place{spot: spotElse}, &w.m.rest)
		}
		return valueEnd(w.src, i)
	}
	return texts(nil, i)
}

func statusOf(raw jsontext.Value) (reason, message string) {
	dec := jsontext.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.ReadToken(); err != nil || t.Kind() != '{' {
		return "", ""
	}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return "", ""
		}
		key := name.String()
		if dec.PeekKind() == '"' && (key == "reason" || key == "message") {
			t, err := dec.ReadToken()
			if err != nil {
				return "", ""
			}
			if key == "reason" {
				reason = t.String()
			} else {
				message = t.String()
			}
			continue
		}
		if dec.SkipValue() != nil {
			return "", ""
		}
	}
	return reason, message
}
