package identity

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/sirupsen/logrus"
	"golang.org/x/time/rate"
)

const (
	// unknownBurst is how many fetches unknown keys may cause at once, before
	// KeyPolicy.MinRefresh spaces them.
	unknownBurst = 2
	// maxNegative bounds the remembered unknown key ids; they are a stranger's
	// words.
	maxNegative = 1024
	// Failed fetches are tried again after these times, doubling.
	firstBackoff = time.Second
	lastBackoff  = 30 * time.Second
	// maxKID is the longest key id that is looked for; it also bounds what is
	// remembered of strangers. Real ones are names, hashes or addresses.
	maxKID = 512
)

func (p KeyPolicy) normal() (KeyPolicy, error) {
	fill := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	fill(&p.MaxAge, 5*time.Minute)
	fill(&p.MinRefresh, 10*time.Second)
	fill(&p.StaleIfError, 10*time.Minute)
	fill(&p.NegativeFor, time.Minute)
	if p.StaleIfError < 0 {
		p.StaleIfError = 0
	}
	if p.MaxAge < time.Second || p.MinRefresh < 0 || p.NegativeFor < 0 {
		return p, errors.New("keys: max age must be at least 1s, min refresh and negative time must not be negative")
	}
	return p, nil
}

// keySet is the oidc.KeySet of one issuer.
//
// Keys are used for KeyPolicy.MaxAge after they were fetched; then they are
// fetched again first, and what the issuer no longer publishes is gone. While
// the issuer cannot be reached the last keys serve for StaleIfError more. A
// token with an unknown key causes a fetch at most once each MinRefresh
// (after a small burst), and not at all for a key id that was looked for in
// vain lately. Requests that wait for the same fetch share it.
type keySet struct {
	name   string
	policy KeyPolicy
	fetch  func(context.Context) ([]byte, error)
	filter keyFilter
	clock  func() time.Time
	log    logrus.FieldLogger
	life   context.Context // ends fetches

	snap atomic.Pointer[keySnapshot] // nil until the first fetch

	mu       sync.Mutex
	flight   *flight // nil: none
	failed   error   // of the last fetch; nil after a success
	retryAt  time.Time
	backoff  time.Duration
	unknown  *rate.Limiter
	negative map[string]time.Time // kid → when to look again
}

// flight is a fetch under way.
type flight struct {
	done chan struct{}
	err  error
}

func newKeySet(name string, policy KeyPolicy, fetch func(context.Context) ([]byte, error), filter keyFilter, clock func() time.Time, log logrus.FieldLogger) *keySet {
	return &keySet{
		name: name, policy: policy, fetch: fetch, filter: filter, clock: clock, log: log,
		unknown:  rate.NewLimiter(rate.Every(policy.MinRefresh), unknownBurst),
		negative: map[string]time.Time{},
	}
}

// request is what the caller of go-oidc and this key set tell each other;
// go-oidc flattens errors to text.
type request struct {
	token *jwt
	key   *key
	err   error
}

type requestKey struct{}

// VerifySignature implements oidc.KeySet.
func (s *keySet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	req, ok := ctx.Value(requestKey{}).(*request)
	if !ok {
		return nil, errors.New("the key set is used outside of Verify")
	}
	payload, k, err := s.verify(ctx, token, req.token)
	req.key, req.err = k, err
	return payload, err
}

func (s *keySet) verify(ctx context.Context, token string, t *jwt) ([]byte, *key, error) {
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{asymmetric[t.alg]})
	if err != nil {
		return nil, nil, Refusal(ReasonMalformed, nil)
	}
	snap, err := s.current(ctx)
	if err != nil {
		return nil, nil, Refusal(ReasonIssuerUnavailable, err)
	}
	try := func(list []*key) ([]byte, *key) {
		for _, k := range list {
			if payload, err := jws.Verify(k.pub); err == nil {
				return payload, k
			}
		}
		return nil, nil
	}
	list := snap.candidates(t)
	if payload, k := try(list); k != nil {
		return payload, k, nil
	}
	if t.hasKID && len(list) > 0 {
		return nil, nil, Refusal(ReasonBadSignature, nil)
	}
	// The key may be newer than the snapshot.
	looked, err := s.look(ctx, t.kid)
	if err != nil {
		return nil, nil, Refusal(ReasonIssuerUnavailable, err)
	}
	if looked {
		next := s.snap.Load()
		list = next.candidates(t)
		if payload, k := try(list); k != nil {
			return payload, k, nil
		}
		if t.hasKID && len(list) > 0 {
			return nil, nil, Refusal(ReasonBadSignature, nil)
		}
		s.remember(t.kid)
	}
	if !t.hasKID && len(list) > 0 {
		return nil, nil, Refusal(ReasonBadSignature, nil)
	}
	return nil, nil, Refusal(ReasonUnknownKey, nil)
}

// trusts tells whether the issuer still publishes the key.
func (s *keySet) trusts(ctx context.Context, t thumbprint) (bool, error) {
	snap, err := s.current(ctx)
	if err != nil {
		return false, Refusal(ReasonIssuerUnavailable, err)
	}
	_, ok := snap.thumbs[t]
	return ok, nil
}

// still is trusts for live connections: it does not fetch.
func (s *keySet) still(t thumbprint) error {
	snap := s.snap.Load()
	if snap == nil || s.clock().Sub(snap.fetched) > s.policy.MaxAge+s.policy.StaleIfError {
		return Refusal(ReasonIssuerUnavailable, errors.New("keys are too old"))
	}
	if _, ok := snap.thumbs[t]; !ok {
		return Refusal(ReasonUnknownKey, nil)
	}
	return nil
}

// current returns keys that may be used now, fetching them when they are old.
func (s *keySet) current(ctx context.Context) (*keySnapshot, error) {
	snap := s.snap.Load()
	if snap != nil && s.age(snap) <= s.policy.MaxAge {
		return snap, nil
	}
	usable := func(snap *keySnapshot) bool {
		return snap != nil && s.age(snap) <= s.policy.MaxAge+s.policy.StaleIfError
	}
	s.mu.Lock()
	if s.failed != nil && usable(snap) {
		// An outage is known and keep goes on trying: nobody needs to wait for
		// an address that does not answer.
		s.mu.Unlock()
		return snap, nil
	}
	f, err := s.begin(ctx)
	s.mu.Unlock()
	if err == nil {
		err = f.wait(ctx)
	}
	snap = s.snap.Load()
	if snap != nil && s.age(snap) <= s.policy.MaxAge || err != nil && usable(snap) {
		return snap, nil
	}
	if err == nil {
		err = errors.New("keys are too old")
	}
	return nil, err
}

func (s *keySet) age(snap *keySnapshot) time.Duration { return s.clock().Sub(snap.fetched) }

// look fetches keys for an unknown key id, if the bounds allow it. True means
// that the snapshot may have changed.
func (s *keySet) look(ctx context.Context, kid string) (bool, error) {
	if len(kid) > maxKID {
		return false, nil
	}
	s.mu.Lock()
	f, err := s.flight, error(nil)
	if f == nil {
		now := s.clock()
		if until, ok := s.negative[kid]; (ok && now.Before(until)) || !s.unknown.AllowN(now, 1) {
			s.mu.Unlock()
			return false, nil
		}
		f, err = s.begin(ctx)
	}
	s.mu.Unlock()
	if err == nil {
		err = f.wait(ctx)
	}
	return err == nil, err
}

// remember notes that a key id was looked for in vain.
func (s *keySet) remember(kid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock()
	if len(s.negative) >= maxNegative {
		for k, until := range s.negative {
			if !now.Before(until) {
				delete(s.negative, k)
			}
		}
		// Still full of fresh ones: the rate limit alone holds then.
		if len(s.negative) >= maxNegative {
			clear(s.negative)
		}
	}
	s.negative[kid] = now.Add(s.policy.NegativeFor)
}

// begin starts a fetch, or gives the one under way. While the issuer fails it
// returns the last error without asking, except at the end of each backoff.
// The caller holds mu.
func (s *keySet) begin(ctx context.Context) (*flight, error) {
	if s.flight != nil {
		return s.flight, nil
	}
	if s.failed != nil && s.clock().Before(s.retryAt) {
		return nil, s.failed
	}
	s.flight = &flight{done: make(chan struct{})}
	// The fetch outlives a caller who hangs up: others wait for it too.
	go s.run(context.WithoutCancel(ctx), s.flight)
	return s.flight, nil
}

// wait returns the fetch's error, or that of the context when it ends first.
func (f *flight) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// load fetches and reads the document. A defect that its content sets off ends
// the fetch, not the process.
func (s *keySet) load(ctx context.Context) (snap *keySnapshot, refused []error, err error) {
	defer func() {
		if r := recover(); r != nil {
			snap, err = nil, fmt.Errorf("keys: panic: %v", r)
		}
	}()
	raw, err := s.fetch(ctx)
	if err != nil {
		return nil, nil, err
	}
	if snap, refused, err = parseKeys(raw, s.filter); err != nil {
		return nil, nil, fmt.Errorf("keys: %w", err)
	}
	return snap, refused, nil
}

func (s *keySet) run(ctx context.Context, f *flight) {
	// Discovery and keys, one after the other.
	ctx, cancel := context.WithTimeout(ctx, 2*fetchTimeout)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	snap, refused, err := s.load(ctx)
	var old *keySnapshot
	s.mu.Lock()
	now := s.clock()
	before := s.failed
	if err != nil {
		if s.failed == nil {
			s.backoff = firstBackoff
		} else {
			s.backoff = min(2*s.backoff, lastBackoff)
		}
		s.failed, s.retryAt = err, now.Add(s.backoff)
	} else {
		s.failed, s.retryAt, s.backoff = nil, time.Time{}, 0
		snap.fetched = now
		old = s.snap.Swap(snap)
	}
	f.err = err
	s.flight = nil
	s.mu.Unlock()
	close(f.done)
	// Once for an outage, not once for each attempt.
	switch log := s.log.WithField("issuer", s.name); {
	case err != nil && before == nil:
		log.WithError(err).Warn("the issuer's keys cannot be fetched")
	case err == nil && before != nil:
		log.Info("the issuer's keys can be fetched again")
	}
	if err == nil {
		s.report(old, snap, refused)
	}
}

// report logs what changed in the set.
func (s *keySet) report(old, next *keySnapshot, refused []error) {
	same := old != nil && len(old.thumbs) == len(next.thumbs)
	if same {
		for t := range next.thumbs {
			if _, ok := old.thumbs[t]; !ok {
				same = false
			}
		}
	}
	if same {
		return
	}
	log := s.log.WithField("issuer", s.name)
	log.WithField("keys", len(next.keys)).Info("the issuer's keys changed")
	for _, err := range refused {
		log.WithError(err).Warn("a key of the issuer is not used")
	}
}

// ready returns nil when there are keys that may be used now.
func (s *keySet) ready() error {
	snap := s.snap.Load()
	if snap != nil && s.clock().Sub(snap.fetched) <= s.policy.MaxAge+s.policy.StaleIfError {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return s.failed
	}
	return errors.New("the keys have not been fetched yet")
}

// keep fetches keys before they grow old, until the context ends.
func (s *keySet) keep(ctx context.Context) {
	for {
		wait := firstBackoff
		s.mu.Lock()
		f, err := s.begin(ctx)
		s.mu.Unlock()
		if err == nil {
			err = f.wait(ctx)
		}
		if err == nil {
			wait = s.policy.MaxAge / 2
		} else {
			s.mu.Lock()
			if d := s.retryAt.Sub(s.clock()); d > 0 {
				wait = d
			}
			s.mu.Unlock()
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}
