package httpproxy

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// Credential is how the gateway shows an upstream who it is. Exactly one of
// Header, Query, User and OAuth is given. It is only ever sent to the origin
// that it was configured for.
type Credential struct {
	Header string // name of a header that is set to Prefix and the secret, e.g. "Authorization" with "Bearer "
	Prefix string
	Query  string // name of a parameter
	User   string // of Basic authentication; the secret is the password
	// Secret returns the secret's present value.
	Secret func() (string, error)
	OAuth  *OAuth
	// Path is what the paths of requests must begin with, segment by segment, for
	// the credential to be theirs; "" for all. Others are refused.
	Path string

	source oauth2.TokenSource
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

// inject adds the credential to an outgoing request, and returns the words that
// must not come back.
func (c *Credential) inject(out *http.Request) ([]string, error) {
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
