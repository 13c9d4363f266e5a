package identity

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

// transport guards every request to an issuer, redirects included: no plain
// http beyond loopback, no endless response, and the bearer token of
// Issuer.TokenFile only to hosts that the configuration names.
type transport struct {
	next       http.RoundTripper
	insecure   bool
	tokenFile  string
	tokenHosts map[string]bool // scheme://host
}

var errLarge = errors.New("the response is larger than 1 MiB")

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := fetchable(req.URL.String(), t.insecure); err != nil {
		return nil, err
	}
	if t.tokenFile != "" && req.Method == http.MethodGet && t.tokenHosts[req.URL.Scheme+"://"+req.URL.Host] {
		raw, err := os.ReadFile(t.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("token_file: %w", err)
		}
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(raw)))
	}
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxBody}
	return resp, nil
}

// boundedBody fails, rather than ends, at its bound: a cut document must not
// pass for a whole one.
type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, errLarge
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return 0, errLarge
	}
	return n, err
}
