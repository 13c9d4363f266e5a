package lint

import (
	"encoding/json"
	"io"
)

// WriteJSON writes the report as one JSON object.
func (r *Report) WriteJSON(w io.Writer) error {
	return writeJSON(w, struct {
		*Report
		Summary map[Severity]int `json:"summary"`
	}{r, map[Severity]int{Error: r.Count(Error), Warning: r.Count(Warning), Info: r.Count(Info)}})
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
