package lint

import (
	"fmt"
	"io"
	"strings"
)

// WriteGitHub writes the report as workflow commands of GitHub Actions, which
// become annotations of the changed files.
func (r *Report) WriteGitHub(w io.Writer) error {
	// A value of a property ends at a comma, a command's name at a colon.
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	for _, f := range r.Findings {
		command := string(f.Severity)
		if f.Severity == Info {
			command = "notice"
		}
		properties := []string{"title=" + property.Replace(f.ID)}
		if f.File != "" {
			properties = append(properties, "file="+property.Replace(f.File))
		}
		if f.Line > 0 {
			properties = append(properties, fmt.Sprintf("line=%d", f.Line), fmt.Sprintf("col=%d", max(1, f.Column)))
		}
		if _, err := fmt.Fprintf(w, "::%s %s::%s\n", command, strings.Join(properties, ","), data.Replace(f.Message+"\nFix: "+f.Fix)); err != nil {
			return err
		}
	}
	return nil
}
