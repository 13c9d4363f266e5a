package config

import (
	"strings"
	"testing"
)

func TestGatewayName(t *testing.T) {
	for host, want := range map[string]string{
		"gw1":                   "gw1",
		"gw-1.eu.acme.example":  "gw-1-eu-acme-example",
		"a_b c/\u00fc":          "a_b-c--",
		"":                      "gateway",
		strings.Repeat("x", 80): strings.Repeat("x", 64),
	} {
		got := gatewayName(host)
		if got != want || !gatewayPattern.MatchString(got) {
			t.Errorf("%q becomes %q, want %q", host, got, want)
		}
	}
}
