package web

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/regate-dev/regate/engine/console"
	"github.com/regate-dev/regate/engine/identity"
)

// SignIn is how people sign in.
type SignIn struct {
	Issuer       string // its URL
	Name         string // as the configuration calls it
	ClientID     string
	ClientSecret string // "": a public client
	Scopes       []string
	Audience     string // sent along where it is not empty
	IDToken      bool   // the ID token says who somebody is, not the access token
	Client       *http.Client
}

// signInTime is how long a person may take at the issuer.
const signInTime = 10 * time.Minute

// attempt is a sign-in under way, in a sealed cookie of its own.
type attempt struct {
	State    string    `json:"s"`
	Nonce    string    `json:"n"`
	Verifier string    `json:"v"`
	Next     string    `json:"x"`
	Began    time.Time `json:"b"`
}

// provider is the issuer, once it has answered.
type provider struct {
	cfg SignIn

	mu    sync.Mutex
	found *oidc.Provider
}

func (p *provider) get(ctx context.Context) (*oidc.Provider, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found != nil {
		return p.found, nil
	}
	// Its keys are fetched with this context later on, too.
	found, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), p.cfg.Client), p.cfg.Issuer)
	if err != nil {
		return nil, fmt.Errorf("ask the issuer: %w", err)
	}
	for _, address := range []string{found.Endpoint().AuthURL, found.Endpoint().TokenURL} {
		if u, err := url.Parse(address); err != nil || (u.Scheme != "https" && !strings.HasPrefix(p.cfg.Issuer, "http:")) {
			return nil, fmt.Errorf("the issuer's address %q is not https", address)
		}
	}
	p.found = found
	return found, nil
}

func (p *Pages) oauth(found *oidc.Provider) *oauth2.Config {
	c := &oauth2.Config{
		ClientID: p.issuer.cfg.ClientID, ClientSecret: p.issuer.cfg.ClientSecret, Endpoint: found.Endpoint(),
		Scopes: p.issuer.cfg.Scopes, RedirectURL: p.cfg.URL + "/signin/callback",
	}
	if c.ClientSecret == "" {
		c.Endpoint.AuthStyle = oauth2.AuthStyleInParams // a public client has only its id to send
	}
	return c
}

// local keeps a path of this site, and nothing that a browser could take for
// another one.
func local(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") ||
		strings.ContainsAny(next, "\\\r\n\t") || strings.HasPrefix(u.Path, "/signin") {
		return "/"
	}
	return next
}

func queryEscape(s string) string { return url.QueryEscape(s) }

func (p *Pages) signInPage(w http.ResponseWriter, r *http.Request) {
	if _, err := p.visitor(r); err == nil {
		http.Redirect(w, r, local(r.URL.Query().Get("next")), http.StatusSeeOther)
		return
	}
	p.showSignIn(w, http.StatusOK, r.URL.Query().Get("next"), "", r.URL.Query().Get("out") != "")
}

func (p *Pages) showSignIn(w http.ResponseWriter, status int, next, problem string, out bool) {
	p.render(w, status, "signin", nil, page{Title: "Sign in", Content: struct {
		Next, Issuer, Problem string
		Out                   bool
	}{local(next), issuerHost(p.issuer.cfg.Issuer), problem, out}})
}

func issuerHost(issuer string) string {
	if u, err := url.Parse(issuer); err == nil && u.Host != "" {
		return u.Host
	}
	return issuer
}

func (p *Pages) signInStart(w http.ResponseWriter, r *http.Request) {
	found, err := p.issuer.get(r.Context())
	if err != nil {
		p.log.WithError(err).Error("console: sign-in")
		p.showSignIn(w, http.StatusBadGateway, r.URL.Query().Get("next"), "The identity provider does not answer. Try again in a moment.", false)
		return
	}
	a := attempt{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Next: local(r.URL.Query().Get("next")), Began: p.now()}
	if err := p.seal.put(w, signInCookie, a, signInTime); err != nil {
		p.fail(w, r, nil, err)
		return
	}
	params := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(a.Verifier), oidc.Nonce(a.Nonce)}
	if p.issuer.cfg.Audience != "" {
		params = append(params, oauth2.SetAuthURLParam("audience", p.issuer.cfg.Audience))
	}
	http.Redirect(w, r, p.oauth(found).AuthCodeURL(a.State, params...), http.StatusSeeOther)
}

func (p *Pages) signInCallback(w http.ResponseWriter, r *http.Request) {
	var a attempt
	err := p.seal.get(r, signInCookie, &a)
	p.seal.drop(w, r, signInCookie)
	q := r.URL.Query()
	switch {
	case err != nil, a.State == "", q.Get("state") != a.State, p.now().Sub(a.Began) > signInTime:
		p.showSignIn(w, http.StatusBadRequest, a.Next, "That sign-in is not under way any more. Please start again.", false)
		return
	case q.Get("iss") != "" && q.Get("iss") != p.issuer.cfg.Issuer: // RFC 9207
		p.showSignIn(w, http.StatusBadRequest, a.Next, "The answer came from another identity provider.", false)
		return
	case q.Get("code") == "":
		p.showSignIn(w, http.StatusForbidden, a.Next, "The identity provider did not let you in.", false)
		return
	}
	who, name, err := p.exchange(r.Context(), q.Get("code"), a)
	if err != nil {
		p.log.WithError(err).Warn("console: sign-in refused")
		var problem *console.Problem
		if errors.As(err, &problem) {
			text := problem.Detail + "."
			if problem.Reason == identity.ReasonMissing || problem.Detail == "" {
				text = "You could not be identified."
			}
			p.showSignIn(w, problem.Status, a.Next, text+" ("+problem.Reason+")", false)
			return
		}
		p.showSignIn(w, http.StatusBadGateway, a.Next, "The identity provider's answer could not be used. The gateway's log has the cause.", false)
		return
	}
	s := newSession(who.Identity, name, p.now().Add(p.cfg.Session).UTC())
	if err := p.cfg.API.SignedIn(r.Context(), who, s.ID); err != nil {
		p.fail(w, r, nil, err)
		return
	}
	if err := p.seal.put(w, sessionCookie, s, p.cfg.Session); err != nil {
		p.fail(w, r, nil, err)
		return
	}
	http.Redirect(w, r, a.Next, http.StatusSeeOther)
}

// exchange turns a code into who somebody is, verified as an API token is.
func (p *Pages) exchange(ctx context.Context, code string, a attempt) (*console.Caller, string, error) {
	found, err := p.issuer.get(ctx)
	if err != nil {
		return nil, "", err
	}
	ctx = oidc.ClientContext(ctx, p.issuer.cfg.Client)
	token, err := p.oauth(found).Exchange(ctx, code, oauth2.VerifierOption(a.Verifier))
	if err != nil {
		var refusal *oauth2.RetrieveError
		if errors.As(err, &refusal) { // the whole of it may hold more than a log should
			err = fmt.Errorf("the issuer refused: %s %.200s", refusal.ErrorCode, refusal.ErrorDescription)
		}
		return nil, "", err
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return nil, "", errors.New("the issuer sent no ID token")
	}
	id, err := found.VerifierContext(ctx, &oidc.Config{ClientID: p.issuer.cfg.ClientID, Now: p.now}).Verify(ctx, raw)
	if err != nil {
		return nil, "", fmt.Errorf("check the ID token: %w", err)
	}
	if id.Nonce != a.Nonce {
		return nil, "", errors.New("the ID token is of another sign-in")
	}
	var claims struct {
		Name     string `json:"name"`
		Username string `json:"preferred_username"`
		Email    string `json:"email"`
	}
	if err := id.Claims(&claims); err != nil {
		return nil, "", fmt.Errorf("read the ID token: %w", err)
	}
	value := token.AccessToken
	if p.issuer.cfg.IDToken {
		value = raw
	}
	who, err := p.cfg.API.Verify(ctx, value)
	if err != nil {
		return nil, "", err
	}
	if who.Identity.IssuerName != p.issuer.cfg.Name || who.Identity.Subject.ID != id.Subject {
		return nil, "", errors.New("access token and ID token are of different people")
	}
	for _, name := range []string{claims.Name, claims.Username, claims.Email} {
		if name != "" {
			return who, clip(name, 80), nil
		}
	}
	return who, clip(id.Subject, 80), nil
}
