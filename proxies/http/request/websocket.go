package request

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/regate-dev/regate/engine/input"
)

// Message is one message of the agent on a WebSocket that r has opened: what r
// asks for, with the verb "send" and the message as its body. The message is
// returned with an error, too, for the record; the error is a *Refusal.
func (r *Request) Message(binary bool, content []byte) (*Request, error) {
	m := *r
	m.Body, m.Unknown = content, nil
	m.Action.Verb, m.Action.Writes, m.Action.Secrets, m.Action.GraphQL = "send", true, []string{}, ""
	b := emptyBody()
	size := int64(len(content))
	b.State, b.Kind, b.Size, b.Digest = "read", "text", &size, input.Digest(sha256.Sum256(content)).String()
	trimmed := bytes.TrimLeft(content, " \t\r\n\ufeff")
	switch v, inexact, err := ReadJSON(content, "http.body.json"); {
	case binary:
		b.Kind = "binary"
	case !utf8.Valid(content):
		return &m, refuse(ReasonBodyType, "Send UTF-8, or a binary message.", "the message is not UTF-8")
	case err == nil:
		b.Kind, b.JSON, m.Unknown = "json", v, inexact
	case json.Valid(content), len(trimmed) > 0 && trimmed[0] == '{':
		// What a rule on a member would not see must not get past it as text.
		return &m, refuse(ReasonJSON, "Send one JSON value in UTF-8, each name once.", "the JSON message cannot be read: %v", err)
	default:
		b.Text = string(content)
		if len(content) > maxText {
			b.Text, b.Truncated = strings.ToValidUTF8(string(content[:maxText]), ""), true
			m.unknown("http.body.text", "longer than is shown")
		}
	}
	m.Action.Body, m.Action.Opaque, m.Detail.Body = b.Kind, binary, b
	m.Resource.BodyNames = topNames(b.JSON)
	return &m, nil
}
