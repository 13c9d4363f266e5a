package devissuer

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// Issuer is the development issuer, an http.Handler:
//
//	/.well-known/openid-configuration, /keys
//	/authorize, /login                 for people
//	/oauth/token                       client_credentials, authorization_code, token exchange
//	/oauth/introspect, /revoke, /userinfo
//	POST /dev/rotate[?withdraw=true]   a new signing key, with a client's credentials (HTTP basic)
type Issuer struct {
	storage *storage
	handler http.Handler
}

// New returns an issuer. The error lists every problem of the configuration.
func New(cfg Config) (*Issuer, error) {
	cfg, err := cfg.normal()
	if err != nil {
		return nil, fmt.Errorf("development issuer: %w", err)
	}
	s, err := newStorage(cfg)
	if err != nil {
		return nil, fmt.Errorf("development issuer: %w", err)
	}
	opConfig := &op.Config{CodeMethodS256: true, SupportedScopes: []string{"openid", "profile", "email"}}
	if _, err := rand.Read(opConfig.CryptoKey[:]); err != nil {
		return nil, fmt.Errorf("development issuer: %w", err)
	}
	provider, err := op.NewProvider(opConfig, s, op.StaticIssuer(cfg.Issuer),
		op.WithAllowInsecure(), // http, on loopback
		op.WithCORSOptions(nil),
		op.WithHttpInterceptors(audienceInterceptor(cfg.Audiences[0])),
	)
	if err != nil {
		return nil, fmt.Errorf("development issuer: %w", err)
	}
	i := &Issuer{storage: s}
	mux := http.NewServeMux()
	mux.Handle("/", provider)
	mux.HandleFunc("GET /login", i.showLogin)
	mux.HandleFunc("POST /login", i.doLogin)
	mux.HandleFunc("POST /dev/rotate", i.rotateHandler)
	i.handler = localOnly(mux)
	return i, nil
}

// ServeHTTP implements http.Handler.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) { i.handler.ServeHTTP(w, r) }

// Rotate makes a new key that signs from now on. With withdraw the old keys
// are no longer published; without, they still verify.
func (i *Issuer) Rotate(withdraw bool) error { return i.storage.rotate(withdraw) }

func (i *Issuer) rotateHandler(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	if i.storage.AuthorizeClientIDSecret(r.Context(), id, secret) != nil {
		w.Header().Set("WWW-Authenticate", `Basic realm="development issuer"`)
		http.Error(w, "a client's id and secret are needed", http.StatusUnauthorized)
		return
	}
	if err := i.Rotate(r.FormValue("withdraw") == "true"); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]bool{"rotated": true})
}

// localOnly refuses requests that a web page on another site could make the
// browser send here by a name that resolves to loopback (DNS rebinding).
func localOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if !loopback(host) {
			http.Error(w, "this issuer answers on loopback names only", http.StatusMisdirectedRequest)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
		next.ServeHTTP(w, r)
	})
}

type audienceKey struct{}

// audienceInterceptor carries the parameters audience and resource, which op
// reads for token exchange only, to the storage. A token exchange that names
// none gets the default.
func audienceInterceptor(def string) op.HttpInterceptor {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := r.ParseForm(); err != nil {
				http.Error(w, "the form cannot be read", http.StatusBadRequest)
				return
			}
			asked := append(append([]string{}, r.Form["audience"]...), r.Form["resource"]...)
			if len(asked) == 0 && r.Form.Get("grant_type") == string(oidc.GrantTypeTokenExchange) {
				r.Form["audience"] = []string{def}
			}
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), audienceKey{}, asked)))
		})
	}
}

func askedAudience(ctx context.Context) []string {
	asked, _ := ctx.Value(audienceKey{}).([]string)
	return asked
}

// callback is where op goes on after a login.
func (i *Issuer) callback(id string) string {
	return i.storage.cfg.Issuer + "/authorize/callback?id=" + url.QueryEscape(id)
}
