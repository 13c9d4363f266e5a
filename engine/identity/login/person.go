package login

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// callback is what the browser brings back.
type callback struct {
	code string
	err  error
}

// person gets a token by authorization code with PKCE. It waits for the
// browser until the context ends.
func (o *Options) person(ctx context.Context, provider *oidc.Provider) (*oauth2.Token, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("wait for the browser: %w", err)
	}
	cfg := oauth2.Config{
		ClientID: o.ClientID, ClientSecret: o.ClientSecret, Endpoint: provider.Endpoint(), Scopes: o.Scopes,
		RedirectURL: "http://" + listener.Addr().String() + "/callback",
	}
	cfg.Endpoint.AuthStyle = oauth2.AuthStyleInParams // a public client has only its id to send
	if o.ClientSecret != "" {
		cfg.Endpoint.AuthStyle = authStyle(provider)
	}
	verifier, state, nonce := oauth2.GenerateVerifier(), rand.Text(), rand.Text()
	back := make(chan callback, 1)
	server := &http.Server{Handler: o.receive(state, back), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }()
	defer func() {
		// The browser gets its last page before the server goes.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
	}()

	params := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(verifier), oidc.Nonce(nonce)}
	for name, values := range o.params() {
		for _, v := range values {
			params = append(params, oauth2.SetAuthURLParam(name, v))
		}
	}
	address := cfg.AuthCodeURL(state, params...)
	if _, err := fmt.Fprintf(o.Prompt, "Open this address to log in:\n\n  %s\n\n", address); err != nil {
		return nil, fmt.Errorf("show the address to open: %w", err)
	}
	_ = o.Browser(address)

	var got callback
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the browser: %w", ctx.Err())
	case got = <-back:
	}
	if got.err != nil {
		return nil, got.err
	}
	token, err := cfg.Exchange(ctx, got.code, oauth2.VerifierOption(verifier))
	if err != nil {
		return nil, fmt.Errorf("get a token: %w", explain(err))
	}
	// An ID token that is there must be right, whichever token is wanted: its
	// nonce ties the answer to this login.
	if raw, ok := token.Extra("id_token").(string); ok {
		id, err := provider.VerifierContext(ctx, &oidc.Config{ClientID: o.ClientID, Now: o.Clock}).Verify(ctx, raw)
		if err != nil {
			return nil, fmt.Errorf("check the ID token: %w", err)
		}
		if id.Nonce != nonce {
			return nil, errors.New("the ID token is not of this login")
		}
	}
	return token, nil
}

// receive serves the redirect. Whatever does not carry the state is not of
// this login and leaves it waiting.
func (o *Options) receive(state string, back chan<- callback) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /callback", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if q.Get("state") != state {
			http.Error(w, "This is not the login that is waiting.", http.StatusBadRequest)
			return
		}
		var got callback
		switch iss := q.Get("iss"); {
		case iss != "" && iss != o.Issuer: // RFC 9207
			got.err = errors.New("the answer is from another issuer")
		case q.Get("error") != "":
			got.err = fmt.Errorf("the issuer refused: %.200s: %.500s", q.Get("error"), q.Get("error_description"))
		case q.Get("code") == "":
			got.err = errors.New("the answer has no code")
		default:
			got.code = q.Get("code")
		}
		if got.err != nil {
			http.Error(w, "The login failed. You can close this page.", http.StatusBadRequest)
		} else {
			_, _ = fmt.Fprintln(w, "You are logged in. You can close this page.")
		}
		select {
		case back <- got:
		default: // a second answer
		}
	})
	return mux
}

// openBrowser asks the desktop to open an address, where there is a desktop.
func openBrowser(address string) error {
	var name string
	var args []string
	switch {
	case runtime.GOOS == "darwin":
		name = "open"
	case runtime.GOOS == "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler"}
	case os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != "":
		name = "xdg-open"
	default:
		return errors.New("no desktop")
	}
	cmd := exec.Command(name, append(args, address)...)
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }()
	return nil
}
