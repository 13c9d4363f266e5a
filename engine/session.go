package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/sirupsen/logrus"

	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/record"
)

// New returns a gate. It starts to watch revocations; Close stops that.
func New(cfg Config) (*Gate, error) {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = discardLogger()
	}
	switch {
	case cfg.Verifier == nil, cfg.Revocations == nil, cfg.Policy == nil,
		cfg.Approvals == nil, cfg.Journal == nil, cfg.Keyring == nil:
		return nil, errors.New("engine: a part of the gate's configuration is missing")
	}
	g := &Gate{cfg: cfg, sessions: newRegistry()}
	g.audit, g.metrics = newAuditLog(g), newMetrics(g)
	g.stop = append(g.stop, cfg.Revocations.Subscribe(g.cutRevoked))
	return g, nil
}

// Close ends every session with ReasonDraining and stops watching. It does
// not close what the gate was configured with.
func (g *Gate) Close() {
	for _, s := range g.sessions.all() {
		s.end(&Denial{Reasons: []string{ReasonDraining}, Message: "the gateway is shutting down", Hint: "Connect again.", Fatal: true})
	}
	for _, stop := range g.stop {
		stop()
	}
	g.audit.close()
}

// Ready returns nil when requests can be decided and recorded, or an error
// that names everything that is in the way.
func (g *Gate) Ready() error {
	var errs []error
	if err := g.cfg.Policy.Ready(); err != nil {
		errs = append(errs, fmt.Errorf("policy: %w", err))
	}
	if err := g.cfg.Revocations.Healthy(); err != nil {
		errs = append(errs, fmt.Errorf("revocations: %w", err))
	}
	if err := g.cfg.Journal.Healthy(); err != nil {
		errs = append(errs, fmt.Errorf("journal: %w", err))
	}
	return errors.Join(errs...)
}

// Authenticate verifies token for target (a name). A refusal is recorded in
// the gateway's own session.
func (g *Gate) Authenticate(ctx context.Context, token, target string) (*identity.Identity, error) {
	id, err := g.cfg.Verifier.Verify(ctx, token)
	if err == nil {
		err = g.stillTrusted(id, target)
	}
	if err == nil {
		return id, nil
	}
	denial := identityDenial(err)
	fields := logrus.Fields{"target": target, "reason": denial.Reason()}
	if cause := errors.Unwrap(err); cause != nil {
		fields["cause"] = cause
	}
	g.cfg.Logger.WithFields(fields).Warn("agent refused: identity")
	g.metrics.identity.WithLabelValues(target, denial.Reason()).Inc()
	g.audit.note(ctx, AuditEvent{Action: "authenticate", Target: target, Outcome: denial.Reason()})
	return nil, denial
}

func (g *Gate) stillTrusted(id *identity.Identity, target string) error {
	if err := g.cfg.Revocations.Healthy(); err != nil {
		return identity.Refusal(identity.ReasonRevocationsStale, err)
	}
	if rev := g.cfg.Revocations.Match(id, target); rev != nil {
		return identity.Refusal(identity.ReasonRevoked, nil)
	}
	return g.cfg.Verifier.Still(id)
}

func identityDenial(err error) *Denial {
	var refused *identity.Error
	if !errors.As(err, &refused) {
		return &Denial{Reasons: []string{ReasonInternal}, Message: "the identity could not be verified", Fatal: true}
	}
	return &Denial{Reasons: []string{refused.Reason}, Message: refused.Message, Hint: refused.Hint, Fatal: true}
}

// Open starts a session: it records who connects to what and asks the policy
// whether they may (stage "session"). The error is a *Denial.
func (g *Gate) Open(ctx context.Context, h Hello) (*Session, error) {
	now := g.cfg.Clock()
	s := &Session{
		gate: g, scene: newScene(ulid.Make().String(), h, now),
		done: make(chan struct{}),
	}
	s.meters = g.metrics.session(string(h.Protocol), h.Target.Name)
	writer, opened := g.cfg.Journal.Begin(s.header())
	s.writer = writer
	turn, err := s.decide(ctx, h.opening(), input.StageSession)
	if err == nil {
		// Nothing of a session is released before its opening is recorded.
		err = g.recorded(ctx, opened)
	}
	if err != nil {
		denial := asDenial(err)
		denial.Fatal = true
		s.Close("refused: " + denial.Reason())
		return nil, denial
	}
	turn.Done(Outcome{Tag: "CONNECT"})
	s.timer = time.AfterFunc(time.Hour, s.checkTrust)
	s.timer.Reset(h.Identity.ExpiresAt.Sub(now))
	g.sessions.add(s)
	// A revocation between Authenticate and here found no session to cut.
	if err := g.stillTrusted(s.identity, h.Target.Name); err != nil {
		s.end(identityDenial(err))
	}
	return s, nil
}

// checkTrust ends the session when its token is no longer good. It runs from
// the token's expiry on, as long as the issuer's clock skew still forgives it.
func (s *Session) checkTrust() {
	if err := s.gate.stillTrusted(s.identity, s.hello.Target.Name); err != nil {
		s.end(identityDenial(err))
		return
	}
	if s.ended.Load() == nil {
		s.timer.Reset(time.Second)
	}
}

func identityFatal(reason string) *Denial { return identityDenial(identity.Refusal(reason, nil)) }

func (s *Session) header() record.Header {
	h := record.Header{
		ID: s.id, Protocol: string(s.hello.Protocol), Target: s.hello.Target.Name,
		Database: s.hello.Target.Database, Role: s.hello.Target.Role,
		Subject: s.identity.Subject.ID, Issuer: s.identity.Subject.Issuer, ClientID: s.identity.Subject.ClientID,
		TokenID: s.identity.TokenID, Client: s.hello.Client.Address, Application: s.hello.Client.Application,
		TLS: s.hello.Client.TLS, Asserted: s.asserted.JSON(), Labels: s.hello.Target.Labels,
	}
	if a := s.identity.Actor; a != nil {
		h.Actor, h.ActorIssuer = a.ID, a.Issuer
	}
	return h
}

// ID names the session in records and in every denial.
func (s *Session) ID() string { return s.id }

// Identity returns who opened the session.
func (s *Session) Identity() *identity.Identity { return s.identity }

// Done is closed when the session must end: the token has expired or was
// revoked, or the gateway is shutting down. Ended then says why.
func (s *Session) Done() <-chan struct{} { return s.done }

// Ended returns why the session must end, nil while it may go on.
func (s *Session) Ended() *Denial { return s.ended.Load() }

func (s *Session) end(why *Denial) {
	if s.ended.CompareAndSwap(nil, why) {
		close(s.done)
	}
}

// Close ends the session and its recording. It may be called once.
func (s *Session) Close(reason string) {
	s.gate.sessions.remove(s)
	if s.timer != nil {
		s.timer.Stop()
	}
	s.end(&Denial{Reasons: []string{ReasonDraining}, Message: "the session is closed", Fatal: true})
	s.writer.Close(reason)
}

// cutRevoked ends every live session that a revocation matches. It runs after
// each change of the list.
func (g *Gate) cutRevoked() {
	for _, s := range g.sessions.all() {
		if g.cfg.Revocations.Match(s.identity, s.hello.Target.Name) != nil {
			s.end(identityFatal(identity.ReasonRevoked))
		}
	}
}

// registry is the set of live sessions.
type registry struct {
	mu   sync.Mutex
	live map[string]*Session
}

func newRegistry() *registry { return &registry{live: map[string]*Session{}} }

func (r *registry) add(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live[s.id] = s
}

func (r *registry) remove(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.live, s.id)
}

func (r *registry) all() []*Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*Session, 0, len(r.live))
	for _, s := range r.live {
		out = append(out, s)
	}
	return out
}

// LiveSession describes a session for operators.
type LiveSession struct {
	ID        string    `json:"id"`
	Subject   string    `json:"subject"`
	Actor     string    `json:"actor,omitempty"`
	Issuer    string    `json:"issuer"`
	Target    string    `json:"target"`
	Protocol  string    `json:"protocol"`
	Address   string    `json:"address"`
	StartedAt time.Time `json:"started_at"`
	ExpiresAt time.Time `json:"expires_at"`
	Requests  int64     `json:"requests"`
	Denials   int64     `json:"denials"`
	Rows      int64     `json:"rows"`
}

// Live lists the open sessions, in no order.
func (g *Gate) Live() []LiveSession {
	var out []LiveSession
	for _, s := range g.sessions.all() {
		h := s.header()
		out = append(out, LiveSession{
			ID: s.id, Subject: h.Subject, Actor: h.Actor, Issuer: h.Issuer, Target: h.Target, Protocol: h.Protocol,
			Address: h.Client, StartedAt: s.started, ExpiresAt: s.identity.ExpiresAt,
			Requests: s.requests.Load(), Denials: s.denials.Load(), Rows: s.rows.Load(),
		})
	}
	return out
}
