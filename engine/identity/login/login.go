package login

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// Options say which token is wanted. Two calls with equal options share a
// cached token.
type Options struct {
	// Issuer is the issuer's URL: https, or http on loopback. Required.
	Issuer string
	// ClientID is the OAuth client. Required.
	ClientID string
	// ClientSecret authenticates the client; needed without Login.
	ClientSecret string
	// Login lets a person log in with a browser, instead of client
	// credentials.
	Login bool
	// Scopes to ask for. With Login and none, "openid".
	Scopes []string
	// Audiences to ask for, as parameter audience (RFC 8693's name, which most
	// issuers take) and resource (RFC 8707) where Resource is set.
	Audiences []string
	Resource  string
	// IDToken takes the ID token instead of the access token, for issuers
	// whose access tokens are opaque. Only with Login.
	IDToken bool
	// CacheDir is where tokens are kept; empty means none are.
	CacheDir string
	// Client carries the requests; nil means one with a timeout.
	Client *http.Client
	// Prompt is where the address to open is written; nil means nowhere.
	Prompt io.Writer
	// Browser opens an address; nil means the platform's way. It is a help
	// only: an error is ignored, the address was written to Prompt.
	Browser func(address string) error
	// Clock tells the time; nil means time.Now.
	Clock func() time.Time
}

func (o *Options) normal() error {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	client := http.Client{Timeout: 30 * time.Second}
	if o.Client != nil {
		client = *o.Client
	}
	client.CheckRedirect = redirect
	o.Client = &client
	if o.Prompt == nil {
		o.Prompt = io.Discard
	}
	if o.Browser == nil {
		o.Browser = openBrowser
	}
	if o.Login && len(o.Scopes) == 0 {
		o.Scopes = []string{oidc.ScopeOpenID}
	}
	switch {
	case o.Issuer == "":
		return errors.New("an issuer is needed")
	case !safe(o.Issuer):
		return fmt.Errorf("issuer %q is not https (http is for loopback only)", o.Issuer)
	case o.ClientID == "":
		return errors.New("a client id is needed")
	case !o.Login && o.ClientSecret == "":
		return errors.New("a client secret is needed; people log in with --login")
	case o.IDToken && !o.Login:
		return errors.New("an ID token needs a login")
	}
	return nil
}

// Token returns a token, from the cache while it is good for some more time.
func Token(ctx context.Context, o Options) (string, error) {
	if err := o.normal(); err != nil {
		return "", err
	}
	cache := cache{dir: o.CacheDir, key: o.cacheKey(), now: o.Clock}
	if token := cache.load(); token != "" {
		return token, nil
	}
	ctx = oidc.ClientContext(ctx, o.Client)
	provider, err := oidc.NewProvider(ctx, o.Issuer)
	if err != nil {
		return "", fmt.Errorf("ask the issuer: %w", err)
	}
	for _, address := range []string{provider.Endpoint().TokenURL, provider.Endpoint().AuthURL} {
		if address != "" && !safe(address) {
			return "", fmt.Errorf("the issuer's address %q is not https (http is for loopback only)", address)
		}
	}
	var token *oauth2.Token
	if o.Login {
		token, err = o.person(ctx, provider)
	} else {
		token, err = o.machine(ctx, provider)
	}
	if err != nil {
		return "", err
	}
	value := token.AccessToken
	if o.IDToken {
		var ok bool
		if value, ok = token.Extra("id_token").(string); !ok {
			return "", errors.New("the issuer sent no ID token; ask for the scope openid")
		}
	}
	if value == "" {
		return "", errors.New("the issuer sent no token")
	}
	// A token that cannot be kept is still good.
	if err := cache.save(value, token.Expiry); err != nil {
		_, _ = fmt.Fprintf(o.Prompt, "The token could not be kept for the next time: %v\n", err)
	}
	return value, nil
}

// machine gets a token by client credentials.
func (o *Options) machine(ctx context.Context, provider *oidc.Provider) (*oauth2.Token, error) {
	cfg := clientcredentials.Config{
		ClientID: o.ClientID, ClientSecret: o.ClientSecret, TokenURL: provider.Endpoint().TokenURL,
		Scopes: o.Scopes, EndpointParams: o.params(), AuthStyle: authStyle(provider),
	}
	token, err := cfg.Token(ctx)
	if err != nil {
		return nil, fmt.Errorf("get a token: %w", explain(err))
	}
	return token, nil
}

// authStyle is how the issuer wants a client's secret: HTTP basic unless it
// takes only the form (RFC 8414: basic is the default).
func authStyle(provider *oidc.Provider) oauth2.AuthStyle {
	var meta struct {
		Methods []string `json:"token_endpoint_auth_methods_supported"`
	}
	if err := provider.Claims(&meta); err != nil || len(meta.Methods) == 0 {
		return oauth2.AuthStyleInHeader
	}
	if !slices.Contains(meta.Methods, "client_secret_basic") && slices.Contains(meta.Methods, "client_secret_post") {
		return oauth2.AuthStyleInParams
	}
	return oauth2.AuthStyleInHeader
}

func (o *Options) params() url.Values {
	params := url.Values{}
	if len(o.Audiences) > 0 {
		params["audience"] = o.Audiences
	}
	if o.Resource != "" {
		params.Set("resource", o.Resource)
	}
	return params
}

// explain keeps what the issuer says in error and error_description, and not
// the whole response.
func explain(err error) error {
	var refusal *oauth2.RetrieveError
	if !errors.As(err, &refusal) {
		return err
	}
	switch {
	case refusal.ErrorCode != "" && refusal.ErrorDescription != "":
		return fmt.Errorf("the issuer refused: %s: %s", refusal.ErrorCode, refusal.ErrorDescription)
	case refusal.ErrorCode != "":
		return fmt.Errorf("the issuer refused: %s", refusal.ErrorCode)
	case refusal.Response != nil:
		return fmt.Errorf("the issuer answered %s", refusal.Response.Status)
	}
	return errors.New("the issuer refused")
}

// safe reports whether secrets may be sent to the address.
func safe(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Host != "" && (u.Scheme == "https" || (u.Scheme == "http" && loopback(u.Hostname())))
}

// redirect follows redirects of documents, and none of a request that carries
// a secret.
func redirect(req *http.Request, via []*http.Request) error {
	switch {
	case via[0].Method != http.MethodGet:
		return errors.New("a redirect is not followed here")
	case len(via) >= 3:
		return errors.New("too many redirects")
	case !safe(req.URL.String()):
		return fmt.Errorf("a redirect to %s is not https", req.URL.Redacted())
	}
	return nil
}

// loopback reports whether the host is a loopback address or localhost.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
