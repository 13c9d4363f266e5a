package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// removedBuiltins are the built-in functions that a policy may not call: they
// reach out of the gateway, read its environment, sign, or draw random values.
// Without them a decision is a function of bundles and input, and can be
// replayed.
var removedBuiltins = []string{
	"http.send",
	"io.jwt.encode_sign",
	"io.jwt.encode_sign_raw",
	"net.lookup_ip_addr",
	"opa.runtime",
	"providers.aws.sign_req",
	"rand.intn",
	"uuid.rfc4122",
}

// clockBuiltins read the clock without OPA marking them as non-deterministic.
var clockBuiltins = []string{
	"crypto.x509.parse_and_verify_certificates",
	"crypto.x509.parse_and_verify_certificates_with_options",
}

// capabilities returns what a policy may use.
func capabilities() *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion()
	c.Builtins = slices.DeleteFunc(slices.Clone(c.Builtins), func(b *ast.Builtin) bool {
		return slices.Contains(removedBuiltins, b.Name)
	})
	c.AllowNet = []string{} // not nil: no host at all
	return c
}

// CapabilitiesJSON returns the capabilities as a file for stock opa's
// --capabilities flag, so that an author's check agrees with the gateway's.
func CapabilitiesJSON() ([]byte, error) {
	raw, err := json.Marshal(capabilities())
	if err != nil {
		return nil, fmt.Errorf("marshal capabilities: %w", err)
	}
	// OPA leaves an empty allow_net out, which would mean any host.
	var doc map[string]any
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("read capabilities back: %w", err)
	}
	doc["allow_net"] = []string{}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return nil, fmt.Errorf("marshal capabilities: %w", err)
	}
	return out.Bytes(), nil
}

// readsClock reports whether calling the built-in can give another value for
// the same input at another time.
func readsClock(b *ast.Builtin) bool {
	return b.IsNondeterministic() || slices.Contains(clockBuiltins, b.Name)
}
