package httpproxy

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// Credential is how the gateway shows an upstream who it is. At most one of
// Header, Query, User, OAuth and AWS is given; Certificate may stand beside it, or
// alone. It is only ever shown to the origin that it was configured for.
type Credential struct {
	Header string // name of a header that is set to Prefix and the secret, e.g. "Authorization" with "Bearer "
	Prefix string
	Query  string // name of a parameter
	User   string // of Basic authentication; the secret is the password
	// Secret returns the secret's present value.
	Secret func() (string, error)
	OAuth  *OAuth
	AWS    *AWS
	// Certificate is the client certificate of TLS; nil where there is none.
	Certificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)
	// Path is what the paths of requests must begin with, segment by segment, for
	// the credential to be theirs; "" for all. Others are refused.
	Path string

	source oauth2.TokenSource
	round  *http.Transport // with the certificate; nil where there is none
}

// OAuth is the client credentials grant.
type OAuth struct {
	TokenURL, ClientID string
	Scopes             []string
	Parameters         map[string]string // more of the token request, e.g. audience
}

// covers reports whether a request's path is one that the credential is for.
func (c *Credential) covers(path string) bool {
	prefix := strings.TrimSuffix(c.Path, "/")
	return prefix == "" || path == prefix || strings.HasPrefix(path, prefix+"/")
}

// prepare makes what needs making once. round is how the token's endpoint is
// reached.
func (c *Credential) prepare(round http.RoundTripper) error {
	if c.OAuth == nil {
		return nil
	}
	secret, err := c.Secret()
	if err != nil {
		return err
	}
	conf := clientcredentials.Config{ClientID: c.OAuth.ClientID, ClientSecret: secret, TokenURL: c.OAuth.TokenURL, Scopes: c.OAuth.Scopes, EndpointParams: url.Values{}}
	for k, v := range c.OAuth.Parameters {
		conf.EndpointParams.Set(k, v)
	}
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{
		Transport: round, Timeout: dialTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("the token endpoint redirects") },
	})
	c.source = conf.TokenSource(ctx)
	return nil
}

// certified makes the connections on which the certificate is shown.
func (c *Credential) certified(conf *tls.Config, e Egress, forward bool, own *addresses) {
	if c.Certificate == nil {
		return
	}
	if conf == nil {
		conf = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	conf = conf.Clone()
	conf.GetClientCertificate = c.Certificate
	c.round = newOutbound(conf, e, forward, own).round
}

// inject adds the credential to an outgoing request that is complete otherwise,
// and returns the words that must not come back. body is what will be sent; whole
// is false where it was not read.
func (c *Credential) inject(out *http.Request, body []byte, whole bool) ([]string, error) {
	if c.Header == "" && c.Query == "" && c.User == "" && c.OAuth == nil && c.AWS == nil {
		return nil, nil // the certificate is all
	}
	if c.source != nil {
		token, err := c.source.Token()
		if err != nil {
			return nil, fmt.Errorf("get a token: %w", err)
		}
		out.Header.Set("Authorization", "Bearer "+token.AccessToken)
		return []string{token.AccessToken}, nil
	}
	secret, err := c.Secret()
	if err != nil {
		return nil, err
	}
	if secret == "" {
		return nil, errors.New("the secret is empty")
	}
	switch {
	case c.AWS != nil:
		return c.AWS.sign(out.Context(), out, secret, body, whole, time.Now())
	case c.Header != "":
		out.Header.Set(c.Header, c.Prefix+secret)
	case c.Query != "":
		add := url.QueryEscape(c.Query) + "=" + url.QueryEscape(secret)
		if out.URL.RawQuery != "" {
			add = out.URL.RawQuery + "&" + add
		}
		out.URL.RawQuery = add
		return []string{secret, url.QueryEscape(secret)}, nil
	default:
		out.SetBasicAuth(c.User, secret)
		return []string{secret, base64.StdEncoding.EncodeToString([]byte(c.User + ":" + secret))}, nil
	}
	return []string{secret}, nil
}
