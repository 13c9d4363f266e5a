package lint

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
)

// WriteSARIF writes the report as SARIF 2.1.0, which code scanning of GitHub,
// GitLab and others reads. version is regate's.
func (r *Report) WriteSARIF(w io.Writer, version string) error {
	type text struct {
		Text string `json:"text"`
	}
	type configuration struct {
		Level string `json:"level"`
	}
	type descriptor struct {
		ID                   string         `json:"id"`
		ShortDescription     text           `json:"shortDescription"`
		FullDescription      text           `json:"fullDescription"`
		Help                 text           `json:"help"`
		DefaultConfiguration configuration  `json:"defaultConfiguration"`
		Properties           map[string]any `json:"properties"`
	}
	type region struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
	}
	type artifact struct {
		URI string `json:"uri"`
	}
	type physical struct {
		ArtifactLocation artifact `json:"artifactLocation"`
		Region           *region  `json:"region,omitempty"`
	}
	type location struct {
		PhysicalLocation physical `json:"physicalLocation"`
	}
	type result struct {
		RuleID              string            `json:"ruleId"`
		RuleIndex           int               `json:"ruleIndex"`
		Level               string            `json:"level"`
		Message             text              `json:"message"`
		Locations           []location        `json:"locations"`
		PartialFingerprints map[string]string `json:"partialFingerprints"`
	}
	rules := []descriptor{}
	index := map[string]int{}
	for i, c := range Checks() {
		index[c.ID] = i
		rules = append(rules, descriptor{
			ID: c.ID, ShortDescription: text{c.What}, FullDescription: text{c.What + ": " + c.Why + "."},
			Help:                 text{c.Fix + "\n\nFound in: " + c.Example},
			DefaultConfiguration: configuration{level(c.Severity)},
			Properties:           map[string]any{"tags": []string{strings.Split(c.ID, "/")[0]}},
		})
	}
	results := []result{}
	for _, f := range r.Findings {
		one := result{
			RuleID: f.ID, RuleIndex: index[f.ID], Level: level(f.Severity), Message: text{f.Message + "\nFix: " + f.Fix},
			Locations: []location{}, PartialFingerprints: map[string]string{"regate/v1": fingerprint(f)},
		}
		if f.File != "" {
			at := physical{ArtifactLocation: artifact{fileURI(f.File)}}
			if f.Line > 0 {
				at.Region = &region{f.Line, f.Column}
			}
			one.Locations = append(one.Locations, location{at})
		}
		results = append(results, one)
	}
	return writeJSON(w, map[string]any{
		"$schema": "https://json.schemastore.org/sarif-2.1.0.json",
		"version": "2.1.0",
		"runs": []any{map[string]any{
			"tool": map[string]any{"driver": map[string]any{
				"name": "regate policy check", "informationUri": "https://github.com/regate-dev/regate", "version": version, "rules": rules,
			}},
			"columnKind": "unicodeCodePoints",
			"results":    results,
		}},
	})
}

func level(s Severity) string {
	if s == Info {
		return "note"
	}
	return string(s)
}

// fileURI is a relative reference, or a file URI for an absolute path.
func fileURI(name string) string {
	u := url.URL{Path: filepath.ToSlash(name)}
	if filepath.IsAbs(name) {
		u.Scheme = "file"
	}
	return u.String()
}

// fingerprint stays the same when lines are added above.
func fingerprint(f Finding) string {
	sum := sha256.Sum256([]byte(strconv.Quote(f.ID) + strconv.Quote(f.File) + strconv.Quote(f.Message) + strconv.Quote(strings.TrimSpace(f.Source))))
	return hex.EncodeToString(sum[:16])
}
