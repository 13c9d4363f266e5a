package lint

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// sarifLog is the part of SARIF 2.1.0 that is written, with the keys that its
// schema requires. Decoding refuses any other.
type sarifLog struct {
	Schema  string `json:"$schema"`
	Version string `json:"version"`
	Runs    []struct {
		Tool struct {
			Driver struct {
				Name           string `json:"name"`
				InformationURI string `json:"informationUri"`
				Version        string `json:"version"`
				Rules          []struct {
					ID                   string            `json:"id"`
					ShortDescription     map[string]string `json:"shortDescription"`
					FullDescription      map[string]string `json:"fullDescription"`
					Help                 map[string]string `json:"help"`
					DefaultConfiguration map[string]string `json:"defaultConfiguration"`
					Properties           map[string]any    `json:"properties"`
				} `json:"rules"`
			} `json:"driver"`
		} `json:"tool"`
		ColumnKind string `json:"columnKind"`
		Results    []struct {
			RuleID    string            `json:"ruleId"`
			RuleIndex int               `json:"ruleIndex"`
			Level     string            `json:"level"`
			Message   map[string]string `json:"message"`
			Locations []struct {
				PhysicalLocation struct {
					ArtifactLocation map[string]string `json:"artifactLocation"`
					Region           map[string]int    `json:"region"`
				} `json:"physicalLocation"`
			} `json:"locations"`
			PartialFingerprints map[string]string `json:"partialFingerprints"`
		} `json:"results"`
	} `json:"runs"`
}

// TestSARIF holds reports to what the schema of SARIF asks of them.
func TestSARIF(t *testing.T) {
	r := check(t, map[string]string{
		"a b/%41#?.rego": metadata + "deny contains {\"id\": \"x\"} if input.action.verb == \"drpo\"\n",
		"b.rego":         "package regate.policies.acme.b\n\ndeny contains {\"id\": \"acme.b/x\", \"mgs\": 1}\n",
		"c/broken.rego":  "package c\n\nallow if if\n",
		"latin.rego":     "package x\n\ny := \"\xe9\"\n",
	})
	r.Findings = append(r.Findings, Finding{ID: idShadow, Severity: Info, File: "/absolute/x.rego"}, Finding{ID: idLoad, Severity: Error})
	var b bytes.Buffer
	if err := r.WriteSARIF(&b, "1.2.3"); err != nil {
		t.Fatal(err)
	}
	var log sarifLog
	dec := json.NewDecoder(&b)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&log); err != nil {
		t.Fatal(err)
	}
	if log.Version != "2.1.0" || len(log.Runs) != 1 || log.Runs[0].Tool.Driver.Name == "" || log.Runs[0].ColumnKind != "unicodeCodePoints" {
		t.Errorf("%+v", log)
	}
	rules := log.Runs[0].Tool.Driver.Rules
	levels := []string{"none", "note", "warning", "error"}
	for _, rule := range rules {
		if rule.ID == "" || rule.ShortDescription["text"] == "" || rule.Help["text"] == "" || !slices.Contains(levels, rule.DefaultConfiguration["level"]) {
			t.Errorf("%+v", rule)
		}
	}
	if len(log.Runs[0].Results) != len(r.Findings) {
		t.Errorf("%d results of %d findings", len(log.Runs[0].Results), len(r.Findings))
	}
	prints := map[string]bool{}
	for _, result := range log.Runs[0].Results {
		if rules[result.RuleIndex].ID != result.RuleID || !slices.Contains(levels, result.Level) || result.Message["text"] == "" {
			t.Errorf("%+v", result)
		}
		prints[result.PartialFingerprints["regate/v1"]] = true
		for _, at := range result.Locations {
			u, err := url.Parse(at.PhysicalLocation.ArtifactLocation["uri"])
			if err != nil || u.RawQuery != "" || u.Fragment != "" || strings.HasPrefix(u.Path, "/") != (u.Scheme == "file") {
				t.Errorf("%v: %v", at, err)
			}
			for key, n := range at.PhysicalLocation.Region {
				if n < 1 || key != "startLine" && key != "startColumn" {
					t.Errorf("%v", at)
				}
			}
		}
	}
	if len(prints) != len(r.Findings) {
		t.Errorf("%d fingerprints of %d findings", len(prints), len(r.Findings))
	}
}
