package web

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/gorilla/securecookie"

	"github.com/regate-dev/regate/engine/console"
	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/engine/input"
)

// session is what the cookie of a signed-in person holds. There is no token in
// it, and no claim but what roles are decided by.
type session struct {
	ID       string    `json:"i"`
	Name     string    `json:"n"` // to be shown
	Subject  string    `json:"s"`
	Issuer   string    `json:"u"`
	From     string    `json:"f"` // the issuer's name in the configuration
	Client   string    `json:"c"`
	Groups   []string  `json:"g"`
	Scopes   []string  `json:"o"`
	TokenID  string    `json:"t"`
	IssuedAt time.Time `json:"a"`
	Ends     time.Time `json:"e"`
}

func newSession(id *identity.Identity, name string, ends time.Time) session {
	return session{
		ID: rand.Text(), Name: name, Subject: id.Subject.ID, Issuer: id.Subject.Issuer, From: id.IssuerName, Client: id.Subject.ClientID,
		Groups: id.Subject.Groups, Scopes: id.Subject.Scopes, TokenID: id.TokenID, IssuedAt: id.IssuedAt, Ends: ends,
	}
}

func (s *session) identity() *identity.Identity {
	return &identity.Identity{
		Subject: input.Principal{
			ID: s.Subject, Issuer: s.Issuer, ClientID: s.Client, Groups: s.Groups, Scopes: s.Scopes,
			ExpiresAt: s.Ends.UTC().Format(time.RFC3339),
		},
		TokenID: s.TokenID, IssuerName: s.From, IssuedAt: s.IssuedAt, ExpiresAt: s.Ends,
	}
}

// sealer encrypts and signs cookies.
type sealer struct {
	codec  *securecookie.SecureCookie
	secure bool
}

// Names of cookies; with https the browser holds them to it.
const (
	sessionCookie = "regate-session"
	signInCookie  = "regate-signin"
)

// A browser takes about 4 KiB a cookie: somebody in many groups gets several.
const (
	cookieBytes = 3500
	maxCookies  = 6
)

func newSealer(key []byte, secure bool) (*sealer, error) {
	derive := func(what string, n int) ([]byte, error) {
		return hkdf.Key(sha256.New, key, nil, "regate console cookie "+what, n)
	}
	sign, err := derive("signature", 32)
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	encrypt, err := derive("encryption", 32)
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	codec := securecookie.New(sign, encrypt)
	codec.SetSerializer(securecookie.JSONEncoder{})
	codec.MaxLength(cookieBytes * maxCookies)
	codec.MaxAge(int((24 * time.Hour).Seconds())) // what is inside says when it ends
	return &sealer{codec: codec, secure: secure}, nil
}

func (s *sealer) name(base string, i int) string {
	if i > 0 {
		base += "-" + strconv.Itoa(i)
	}
	if s.secure {
		return "__Host-" + base
	}
	return base
}

func (s *sealer) cookie(name, value string, life time.Duration) *http.Cookie {
	c := &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, Secure: s.secure, SameSite: http.SameSiteLaxMode, MaxAge: int(life.Seconds())}
	if value == "" {
		c.MaxAge = -1
	}
	return c
}

// put seals a value into as many cookies as it takes.
func (s *sealer) put(w http.ResponseWriter, base string, value any, life time.Duration) error {
	sealed, err := s.codec.Encode(base, value)
	if err != nil {
		return fmt.Errorf("seal a cookie: %w", err)
	}
	for i := range maxCookies {
		part := sealed[:min(len(sealed), cookieBytes)]
		sealed = sealed[len(part):]
		if part == "" && i > 1 {
			break // the one that ends them is enough
		}
		http.SetCookie(w, s.cookie(s.name(base, i), part, life))
	}
	return nil
}

func (s *sealer) get(r *http.Request, base string, into any) error {
	var sealed strings.Builder
	for i := range maxCookies {
		c, err := r.Cookie(s.name(base, i))
		if err != nil || c.Value == "" {
			break
		}
		sealed.WriteString(c.Value)
		if len(c.Value) < cookieBytes {
			break
		}
	}
	if sealed.Len() == 0 {
		return http.ErrNoCookie
	}
	return s.codec.Decode(base, sealed.String(), into)
}

func (s *sealer) drop(w http.ResponseWriter, r *http.Request, base string) {
	for i := range maxCookies {
		if name := s.name(base, i); i == 0 || hasCookie(r, name) {
			http.SetCookie(w, s.cookie(name, "", 0))
		}
	}
}

func hasCookie(r *http.Request, name string) bool {
	_, err := r.Cookie(name)
	return err == nil
}

// visit is one request of a signed-in person.
type visit struct {
	who     *console.Caller
	session session
	May     may
}

// Name, Subject, Ends and Roles are what the frame shows of a person.
func (v *visit) Name() string    { return v.session.Name }
func (v *visit) Subject() string { return v.session.Subject }
func (v *visit) Ends() time.Time { return v.session.Ends }

// Initial is the first character of their name.
func (v *visit) Initial() string {
	for _, r := range strings.ToUpper(v.session.Name) {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return string(r)
		}
	}
	return "?"
}

// Roles are the roles that they hold.
func (v *visit) Roles() []string {
	var out []string
	for _, r := range []struct {
		name string
		held bool
	}{{"viewer", v.who.Viewer}, {"approver", v.who.Approver}, {"auditor", v.who.Auditor}, {"operator", v.who.Operator}} {
		if r.held {
			out = append(out, r.name)
		}
	}
	return out
}

// may is what a person's roles let them see and do.
type may struct {
	Activity   bool // live sessions and decisions, without what was asked
	Recordings bool // what was asked and answered, and why
	Gateway    bool // policies, targets, health
	Revoke     bool
}

func permissions(who *console.Caller) may {
	return may{
		Activity:   who.Viewer || who.Auditor || who.Operator,
		Recordings: who.Recordings(),
		Gateway:    who.Any(),
		Revoke:     who.Operator,
	}
}

// visitor finds out who sent a request. The error is a *console.Problem, or
// http.ErrNoCookie where nobody is signed in.
func (p *Pages) visitor(r *http.Request) (*visit, error) {
	v := &visit{}
	if err := p.seal.get(r, sessionCookie, &v.session); err != nil {
		return nil, http.ErrNoCookie // not there, of another key or changed: it says nothing
	}
	if !p.now().Before(v.session.Ends) {
		return nil, http.ErrNoCookie
	}
	var err error
	if v.who, err = p.cfg.API.AdmitSession(v.session.identity(), v.session.ID); err != nil {
		return nil, err
	}
	v.May = permissions(v.who)
	return v, nil
}

// signedIn lets a person with a session through, and sends others to sign in.
func (p *Pages) signedIn(h view) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := p.visitor(r)
		switch {
		case errors.Is(err, http.ErrNoCookie):
			p.seal.drop(w, r, sessionCookie)
			p.toSignIn(w, r)
			return
		case err != nil:
			var problem *console.Problem
			if errors.As(err, &problem) && problem.Status == http.StatusUnauthorized {
				p.seal.drop(w, r, sessionCookie)
			}
			p.fail(w, r, nil, err)
			return
		}
		if err := h(r.Context(), v, w, r); err != nil {
			p.fail(w, r, v, err)
		}
	})
}

// toSignIn shows the way in. What a script asked for cannot be redirected to a
// page: it is told to go there.
func (p *Pages) toSignIn(w http.ResponseWriter, r *http.Request) {
	to := "/signin"
	if r.Method == http.MethodGet && r.URL.Path != "/" && r.URL.Path != "/events" {
		to += "?next=" + queryEscape(r.URL.RequestURI())
	}
	switch {
	case r.URL.Path == "/events":
		w.WriteHeader(http.StatusNoContent) // EventSource does not try again
	case r.Header.Get("HX-Request") == "true":
		w.Header().Set("HX-Redirect", to)
		w.WriteHeader(http.StatusNoContent)
	default:
		http.Redirect(w, r, to, http.StatusSeeOther)
	}
}

func (p *Pages) signOut(ctx context.Context, v *visit, w http.ResponseWriter, r *http.Request) error {
	p.seal.drop(w, r, sessionCookie)
	if err := p.cfg.API.SignOut(ctx, v.who, v.session.ID, v.session.Ends); err != nil {
		return err // the cookie is gone from this browser, and a copy may live on: say so
	}
	http.Redirect(w, r, "/signin?out=1", http.StatusSeeOther)
	return nil
}
