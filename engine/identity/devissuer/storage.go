package devissuer

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// maxKeys is how many keys are published; older ones are withdrawn.
const maxKeys = 8

// loginTime is how long a person may take to log in.
const loginTime = 10 * time.Minute

// storage is the op.Storage: all that the issuer knows, in memory.
type storage struct {
	cfg     Config
	clients map[string]*client
	users   map[string]User

	mu     sync.Mutex
	keys   []*signingKey // the last signs, all verify
	logins map[string]*authRequest
	codes  map[string]string // code → login
	tokens map[string]token  // by jti
}

// token is what is kept of an issued access token.
type token struct {
	client, subject string
	audience        []string
	scopes          []string
	expires         time.Time
}

var (
	_ op.Storage                        = (*storage)(nil)
	_ op.ClientCredentialsStorage       = (*storage)(nil)
	_ op.TokenExchangeStorage           = (*storage)(nil)
	_ op.CanSetUserinfoFromRequest      = (*storage)(nil)
	_ op.CanGetPrivateClaimsFromRequest = (*storage)(nil)
)

var errUnknown = errors.New("not known")

func newStorage(cfg Config) (*storage, error) {
	s := &storage{
		cfg: cfg, clients: map[string]*client{}, users: map[string]User{},
		logins: map[string]*authRequest{}, codes: map[string]string{}, tokens: map[string]token{},
	}
	for _, c := range cfg.Clients {
		s.clients[c.ID] = &client{Client: c, lifetime: cfg.TokenLifetime}
	}
	for id, redirect := range map[string]string{LoginClient: "/callback", ConsoleClient: "/signin/callback"} {
		s.clients[id] = &client{Client: Client{ID: id}, public: true, redirect: redirect, lifetime: cfg.TokenLifetime}
	}
	for _, u := range cfg.Users {
		s.users[u.ID] = u
	}
	return s, s.rotate(false)
}

// rotate makes a new signing key; withdraw drops the old ones at once.
func (s *storage) rotate(withdraw bool) error {
	key, err := newKey(s.cfg.Algorithm)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if withdraw {
		s.keys = nil
	}
	s.keys = append(s.keys, key)
	if len(s.keys) > maxKeys {
		s.keys = s.keys[len(s.keys)-maxKeys:]
	}
	return nil
}

// audience checks the audiences that a request asks for; none means the
// default.
func (s *storage) audience(asked []string) ([]string, error) {
	if len(asked) == 0 {
		return s.cfg.Audiences[:1], nil
	}
	for _, a := range asked {
		if !slices.Contains(s.cfg.Audiences, a) {
			return nil, oidc.ErrInvalidTarget().WithDescription("the audience is not one of this issuer")
		}
	}
	return asked, nil
}

// Logins

func (s *storage) CreateAuthRequest(ctx context.Context, req *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	if slices.Contains(req.Prompt, oidc.PromptNone) {
		return nil, oidc.ErrLoginRequired()
	}
	if req.CodeChallenge == "" || req.CodeChallengeMethod != oidc.CodeChallengeMethodS256 {
		return nil, oidc.ErrInvalidRequest().WithDescription("PKCE with S256 is needed")
	}
	audience, err := s.audience(askedAudience(ctx))
	if err != nil {
		return nil, err
	}
	a := &authRequest{AuthRequest: req, id: uuid.NewString(), audience: audience, expires: time.Now().Add(loginTime)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	s.logins[a.id] = a
	return a, nil
}

// sweep forgets what has expired. The caller holds mu.
func (s *storage) sweep() {
	now := time.Now()
	for id, a := range s.logins {
		if now.After(a.expires) {
			delete(s.logins, id)
		}
	}
	for code, id := range s.codes {
		if _, ok := s.logins[id]; !ok {
			delete(s.codes, code)
		}
	}
	for id, t := range s.tokens {
		if now.After(t.expires) {
			delete(s.tokens, id)
		}
	}
}

// login marks a login as done by a user. The password is compared where the
// user has one.
func (s *storage) login(id, user, password string) error {
	u, ok := s.users[user]
	if !ok || !same(u.Password, password) {
		return errors.New("the user or the password is wrong")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.logins[id]
	if !ok || time.Now().After(a.expires) || a.user != "" {
		return errors.New("this login has expired: start again")
	}
	// A copy: readers of the old one hold no lock.
	done := *a
	done.user, done.authTime = user, time.Now()
	s.logins[id] = &done
	return nil
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func (s *storage) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a, ok := s.logins[id]; ok && time.Now().Before(a.expires) {
		return a, nil
	}
	return nil, errUnknown
}

func (s *storage) AuthRequestByCode(_ context.Context, code string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, ok := s.codes[code]
	if !ok {
		return nil, errUnknown
	}
	// A code is used once, whether or not the exchange succeeds.
	delete(s.codes, code)
	if a, ok := s.logins[id]; ok && time.Now().Before(a.expires) {
		return a, nil
	}
	return nil, errUnknown
}

func (s *storage) SaveAuthCode(_ context.Context, id, code string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.logins[id]; !ok {
		return errUnknown
	}
	s.codes[code] = id
	return nil
}

func (s *storage) DeleteAuthRequest(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.logins, id)
	return nil
}

// Tokens

func (s *storage) CreateAccessToken(_ context.Context, req op.TokenRequest) (string, time.Time, error) {
	t := token{subject: req.GetSubject(), audience: req.GetAudience(), scopes: req.GetScopes(), expires: time.Now().Add(s.cfg.TokenLifetime)}
	switch r := req.(type) {
	case *machineRequest:
		t.client = r.client.ID
	case *authRequest:
		t.client = r.ClientID
	case op.TokenExchangeRequest:
		t.client = r.GetClientID()
	default:
		return "", time.Time{}, fmt.Errorf("a token for %T is not supported", req)
	}
	id := uuid.NewString()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	s.tokens[id] = t
	return id, t.expires, nil
}

var errNoRefresh = oidc.ErrUnsupportedGrantType().WithDescription("refresh tokens are not supported")

func (s *storage) CreateAccessAndRefreshTokens(context.Context, op.TokenRequest, string) (string, string, time.Time, error) {
	return "", "", time.Time{}, errNoRefresh
}

func (s *storage) TokenRequestByRefreshToken(context.Context, string) (op.RefreshTokenRequest, error) {
	return nil, errNoRefresh
}

func (s *storage) GetRefreshTokenInfo(context.Context, string, string) (string, string, error) {
	return "", "", op.ErrInvalidRefreshToken
}

func (s *storage) TerminateSession(_ context.Context, user, clientID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, t := range s.tokens {
		if t.subject == user && t.client == clientID {
			delete(s.tokens, id)
		}
	}
	return nil
}

func (s *storage) RevokeToken(_ context.Context, id, _, clientID string) *oidc.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tokens[id]
	if !ok {
		return nil // RFC 7009 section 2.2: an unknown token is revoked already
	}
	if t.client != clientID {
		return oidc.ErrInvalidClient().WithDescription("the token was issued to another client")
	}
	delete(s.tokens, id)
	return nil
}

// Keys

func (s *storage) SigningKey(context.Context) (op.SigningKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[len(s.keys)-1], nil
}

func (s *storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.SignatureAlgorithm(s.cfg.Algorithm)}, nil
}

func (s *storage) KeySet(context.Context) ([]op.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []op.Key
	for _, k := range s.keys {
		keys = append(keys, publicKey{k})
	}
	return keys, nil
}

// Clients

func (s *storage) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	if c, ok := s.clients[id]; ok {
		return c, nil
	}
	return nil, errUnknown
}

func (s *storage) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	if c, ok := s.clients[id]; !ok || c.public || !same(c.Secret, secret) {
		return errors.New("the client or its secret is wrong")
	}
	return nil
}

func (s *storage) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	if err := s.AuthorizeClientIDSecret(ctx, id, secret); err != nil {
		return nil, err
	}
	return s.clients[id], nil
}

func (s *storage) ClientCredentialsTokenRequest(ctx context.Context, id string, scopes []string) (op.TokenRequest, error) {
	c, ok := s.clients[id]
	if !ok {
		return nil, errUnknown
	}
	granted, err := c.grant(scopes)
	if err != nil {
		return nil, err
	}
	audience, err := s.audience(askedAudience(ctx))
	if err != nil {
		return nil, err
	}
	return &machineRequest{client: c, audience: audience, scopes: granted}, nil
}

// grant returns the scopes that a client gets: those asked for, or all of its
// own.
func (c *client) grant(asked []string) ([]string, error) {
	if len(asked) == 0 {
		return c.Scopes, nil
	}
	for _, scope := range asked {
		if !slices.Contains(c.Scopes, scope) {
			return nil, oidc.ErrInvalidScope().WithDescription("a scope is not one of the client's")
		}
	}
	return asked, nil
}

// Claims

// groups returns the groups of whoever has the sub.
func (s *storage) groups(subject string) []string {
	if u, ok := s.users[subject]; ok {
		return u.Groups
	}
	for _, c := range s.cfg.Clients {
		if c.Subject == subject {
			return c.Groups
		}
	}
	return nil
}

func (s *storage) GetPrivateClaimsFromRequest(_ context.Context, req op.TokenRequest, _ []string) (map[string]any, error) {
	claims := map[string]any{}
	// op leaves scope out of JWT access tokens; RFC 9068 section 2.2.3 wants it.
	if scopes := req.GetScopes(); len(scopes) > 0 {
		claims["scope"] = strings.Join(scopes, " ")
	}
	if m, ok := req.(*machineRequest); ok {
		for k, v := range m.client.Claims {
			claims[k] = v
		}
		claims["groups"] = list(m.client.Groups)
		if a := m.client.Actor; a != nil {
			act := map[string]any{"sub": a.Subject}
			if a.ClientID != "" {
				act["client_id"] = a.ClientID
			}
			if len(a.Groups) > 0 {
				act["groups"] = a.Groups
			}
			claims["act"] = act
		}
		return claims, nil
	}
	claims["groups"] = list(s.groups(req.GetSubject()))
	if u, ok := s.users[req.GetSubject()]; ok && u.Email != "" {
		claims["email"] = u.Email
	}
	return claims, nil
}

// list makes an empty claim [] instead of null.
func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func (s *storage) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return nil, nil // GetPrivateClaimsFromRequest is asked instead
}

func (s *storage) SetUserinfoFromScopes(context.Context, *oidc.UserInfo, string, string, []string) error {
	return nil // SetUserinfoFromRequest is asked instead
}

func (s *storage) SetUserinfoFromRequest(_ context.Context, info *oidc.UserInfo, req op.IDTokenRequest, _ []string) error {
	s.describe(info, req.GetSubject())
	return nil
}

func (s *storage) describe(info *oidc.UserInfo, subject string) {
	info.Subject = subject
	if u, ok := s.users[subject]; ok {
		info.Name, info.Email = u.Name, u.Email
	}
	info.AppendClaims("groups", list(s.groups(subject)))
}

func (s *storage) live(id string) (token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tokens[id]
	if !ok || time.Now().After(t.expires) {
		return token{}, errUnknown
	}
	return t, nil
}

func (s *storage) SetUserinfoFromToken(_ context.Context, info *oidc.UserInfo, id, _, _ string) error {
	t, err := s.live(id)
	if err != nil {
		return err
	}
	s.describe(info, t.subject)
	return nil
}

// SetIntrospectionFromToken answers any authenticated client: everybody here
// is a developer on this machine.
func (s *storage) SetIntrospectionFromToken(_ context.Context, resp *oidc.IntrospectionResponse, id, _, _ string) error {
	t, err := s.live(id)
	if err != nil {
		return err
	}
	resp.Subject, resp.ClientID, resp.Scope = t.subject, t.client, t.scopes
	resp.Audience, resp.JWTID, resp.Expiration = t.audience, id, oidc.FromTime(t.expires)
	return nil
}

func (s *storage) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, errUnknown // no client authenticates by JWT
}

func (s *storage) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, oidc.ErrUnsupportedGrantType()
}

func (s *storage) Health(context.Context) error { return nil }
