package httpproxy

import (
	"crypto/tls"
	"io"
	"net/http"

	"github.com/regate-dev/regate/engine"
)

// What follows is for protocols that travel over HTTP.

// Transport makes requests to one upstream that the operator has named, over
// connections to addresses that were checked. It follows no redirect.
func Transport(conf *tls.Config, e Egress) *http.Transport {
	return newOutbound(conf, e, false, &addresses{}).round
}

// Token returns the token of an Authorization header, "" where there is none.
// The error is a *engine.Denial.
func Token(h http.Header) (string, error) { return bearer(h, "Authorization") }

// Deny answers a request with a denial, as problem+json.
func Deny(w http.ResponseWriter, d *engine.Denial) { deny(w, d, false) }

// Prepare makes the credential ready; round is how a token endpoint is reached.
func (c *Credential) Prepare(round http.RoundTripper) error { return c.prepare(round) }

// Add adds the credential to an outgoing request that is complete otherwise, and returns what takes every
// spelling of it out of an answer.
func (c *Credential) Add(out *http.Request) (func(io.Reader) io.Reader, error) {
	var sent []byte
	whole := out.Body == nil || out.Body == http.NoBody
	if out.GetBody != nil {
		again, err := out.GetBody()
		if err != nil {
			return nil, err
		}
		if sent, err = io.ReadAll(again); err != nil {
			return nil, err
		}
		whole = true
	}
	words, err := c.inject(out, sent, whole)
	if err != nil {
		return nil, err
	}
	spelled := spellings(words)
	if len(spelled) == 0 {
		return func(r io.Reader) io.Reader { return r }, nil
	}
	return func(r io.Reader) io.Reader { return newScrubbed(r, spelled) }, nil
}
