package pin

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/pmezard/go-difflib/difflib"
)

// State is what a tool's definition is.
type State string

// The states of a definition.
const (
	New      State = "new"      // nobody has approved the tool
	Approved State = "approved" // the server says what was approved
	Changed  State = "changed"  // the server says something else than what was approved
)

// Definition is a tool's definition as a server has told it.
type Definition struct {
	Digest string          `json:"digest"` // "sha256:…" of JSON
	JSON   json.RawMessage `json:"json"`   // RFC 8785
}

// Entry is what is known of one tool.
type Entry struct {
	Server    string      `json:"server"`
	Name      string      `json:"name"`
	Seen      *Definition `json:"seen"` // what the server said last; nil where it has not said anything yet
	FirstSeen time.Time   `json:"first_seen"`
	SeenAt    time.Time   `json:"seen_at"` // when it said this for the first time

	Approved   *Definition `json:"approved"` // nil: nobody has approved it
	ApprovedAt time.Time   `json:"approved_at,omitzero"`
	ApprovedBy string      `json:"approved_by,omitempty"`
	Issuer     string      `json:"issuer,omitempty"` // of ApprovedBy
}

// State compares what the server says with what was approved.
func (e *Entry) State() State {
	switch {
	case e.Approved == nil:
		return New
	case e.Seen == nil || e.Seen.Digest == e.Approved.Digest:
		return Approved
	}
	return Changed
}

// Diff shows what has changed since the approval, as a unified diff; "" where
// nothing has, or where nothing was approved.
func (e *Entry) Diff() string {
	if e.State() != Changed {
		return ""
	}
	text, err := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
		A: difflib.SplitLines(indented(e.Approved.JSON)), B: difflib.SplitLines(indented(e.Seen.JSON)),
		FromFile: "approved", ToFile: "now", Context: 3,
	})
	if err != nil {
		return "" // a strings.Builder does not fail
	}
	return text
}

func indented(raw []byte) string {
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return string(raw)
	}
	return b.String() + "\n"
}
