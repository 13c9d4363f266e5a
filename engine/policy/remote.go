package policy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/open-policy-agent/opa/v1/logging"
	"github.com/open-policy-agent/opa/v1/plugins"
	opabundle "github.com/open-policy-agent/opa/v1/plugins/bundle"
	"github.com/open-policy-agent/opa/v1/plugins/rest"
	"github.com/sirupsen/logrus"
)

const (
	defaultPollMin    = 10 * time.Second
	defaultPollMax    = 20 * time.Second
	defaultTimeToLoad = 2 * time.Minute
)

// remoteSource is a bundle's place in OPA's terms.
type remoteSource struct {
	service     map[string]any
	resource    string
	credentials map[string]any // for the guard to pass on; empty: none
	signer      *s3Signer      // nil: not in use
}

// remote maps the bundle's URL and Auth onto OPA's service configuration.
func (b Bundle) remote() (*remoteSource, error) {
	u, err := url.Parse(b.URL)
	if err != nil {
		return nil, errors.New("the url cannot be read") // the error would quote it, with what may be a password
	}
	if u.User != nil {
		return nil, errors.New("credentials belong into auth, not into the url")
	}
	if u.Host == "" {
		return nil, fmt.Errorf("url %q has no host", redactURL(b.URL))
	}
	auth := b.Auth
	if auth == nil {
		auth = &Auth{}
	}
	out := &remoteSource{service: map[string]any{"name": b.Name}}
	switch b.scheme() {
	case "http", "https":
		out.service["url"] = u.Scheme + "://" + u.Host
		out.resource = u.RequestURI()
	case "oci":
		out.service["url"] = "https://" + u.Host
		out.service["type"] = "oci"
		out.resource = u.Host + u.Path
	case "s3":
		s3 := auth.S3
		if s3 == nil {
			s3 = &S3Auth{}
			auth = &Auth{CACert: auth.CACert, S3: s3}
		}
		out.service["url"] = "https://" + u.Host + ".s3." + s3.region() + ".amazonaws.com"
		out.resource = u.EscapedPath()
		if s3.Endpoint != "" {
			out.service["url"] = strings.TrimSuffix(s3.Endpoint, "/")
			out.resource = "/" + u.Host + u.EscapedPath()
		}
	default:
		return nil, fmt.Errorf("url scheme %q is not file, http, https, s3 or oci", b.scheme())
	}
	if auth.CACert != "" {
		out.service["tls"] = map[string]any{"ca_cert": auth.CACert}
	}
	if s3 := auth.S3; s3 != nil && s3.AccessKey != "" {
		if s3.SecretKey == "" {
			return nil, errors.New("auth: an access key needs its secret key")
		}
		out.signer = &s3Signer{accessKey: s3.AccessKey, secretKey: s3.SecretKey, region: s3.region()}
		auth = &Auth{CACert: auth.CACert}
	}
	out.credentials, err = auth.credentials()
	return out, err
}

func (s *S3Auth) region() string {
	if s.Region == "" {
		return "us-east-1"
	}
	return s.Region
}

// credentials maps to the `credentials` of OPA's service configuration.
func (a *Auth) credentials() (map[string]any, error) {
	var ways []map[string]any
	if a.Bearer != "" || a.BearerFile != "" {
		if a.Bearer != "" && a.BearerFile != "" {
			return nil, errors.New("auth: want one of bearer and bearer file")
		}
		bearer := map[string]any{}
		for key, v := range map[string]string{"token": a.Bearer, "token_path": a.BearerFile, "scheme": a.BearerScheme} {
			if v != "" {
				bearer[key] = v
			}
		}
		ways = append(ways, map[string]any{"bearer": bearer})
	}
	if a.ClientCert != "" || a.ClientKey != "" {
		if a.ClientCert == "" || a.ClientKey == "" {
			return nil, errors.New("auth: a client certificate needs its key and the other way round")
		}
		ways = append(ways, map[string]any{"client_tls": map[string]any{"cert": a.ClientCert, "private_key": a.ClientKey}})
	}
	if s3 := a.S3; s3 != nil {
		region := s3.region()
		signing := map[string]any{}
		switch {
		case s3.Profile != "":
			signing["profile_credentials"] = map[string]any{"profile": s3.Profile, "aws_region": region}
		case s3.Metadata:
			signing["metadata_credentials"] = map[string]any{"aws_region": region}
		default:
			signing["environment_credentials"] = map[string]any{}
		}
		ways = append(ways, map[string]any{"s3_signing": signing})
	}
	switch len(ways) {
	case 0:
		return map[string]any{}, nil
	case 1:
		return ways[0], nil
	}
	return nil, errors.New("auth: more than one way to log in is set")
}

func guardName(bundle string) string { return "regate-" + bundle }

// opaConfig is the configuration of OPA's manager for the remote bundles.
func opaConfig(bundles []Bundle, dir string) ([]byte, error) {
	services, sources, keys := map[string]any{}, map[string]any{}, map[string]any{}
	for _, b := range bundles {
		r, err := b.remote()
		if err != nil {
			return nil, fmt.Errorf("bundle %q: %w", b.Name, err)
		}
		r.service["credentials"] = map[string]any{"plugin": guardName(b.Name)}
		services[b.Name] = r.service
		source := map[string]any{
			"service": b.Name, "resource": r.resource, "persist": dir != "", "size_limit_bytes": b.maxBytes(),
		}
		if s := b.Signing; s != nil {
			source["signing"] = map[string]any{"keyid": s.KeyID, "scope": s.Scope}
			key := map[string]any{"key": s.PublicKey, "scope": s.Scope}
			if s.Algorithm != "" {
				key["algorithm"] = s.Algorithm
			}
			keys[s.KeyID] = key
		}
		sources[b.Name] = source
	}
	config := map[string]any{"services": services, "bundles": sources, "keys": keys}
	if dir != "" {
		config["persistence_directory"] = dir
	}
	raw, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("configure bundles: %w", err)
	}
	return raw, nil
}

// startRemote starts OPA's bundle plugin, which brings back what was kept on
// disk. Its own polling is off: it shares state between a poll and a Trigger
// without a lock, and Refresh needs both. One goroutine a bundle asks instead.
func (e *Engine) startRemote(ctx context.Context, bundles []Bundle) error {
	if len(bundles) == 0 {
		return nil
	}
	names := make([]string, len(bundles))
	for i, b := range bundles {
		r, err := b.remote()
		if err != nil {
			return fmt.Errorf("bundle %q: %w", b.Name, err)
		}
		g, err := newGuard(e.ctx, b, r)
		if err != nil {
			return fmt.Errorf("bundle %q: %w", b.Name, err)
		}
		e.manager.Register(guardName(b.Name), g)
		names[i] = b.Name
	}
	config := e.manager.GetConfig()
	trigger := plugins.TriggerManual
	parsed, err := opabundle.NewConfigBuilder().WithBytes(config.Bundles).WithServices(names).
		WithKeyConfigs(e.manager.PublicKeys()).WithTriggerMode(&trigger).Parse()
	if err != nil {
		return fmt.Errorf("configure bundles: %w", err)
	}
	plugin := opabundle.New(parsed, e.manager)
	plugin.Register("regate", e.remoteStatus)
	e.manager.Register(opabundle.Name, plugin)
	if err := e.manager.Start(ctx); err != nil {
		return fmt.Errorf("start bundles: %w", err)
	}
	loaders := plugin.Loaders()
	for _, b := range bundles {
		p := &poller{bundle: b, after: e.tidy, loader: loaders[b.Name], asked: make(chan chan struct{}), stopped: e.ctx.Done()}
		e.pollers = append(e.pollers, p)
		e.background.Go(func() { p.run(e.ctx) })
	}
	return nil
}

var errClosed = errors.New("the policy engine is closed")

// poller asks one remote source for its bundle.
type poller struct {
	bundle  Bundle
	loader  opabundle.Loader
	asked   chan chan struct{}
	stopped <-chan struct{}
	after   func() // after each answer
}

// firstRetry is the wait after the first failure, doubled with each further one
// up to the longest poll interval.
const firstRetry = time.Second

func (p *poller) run(ctx context.Context) {
	retry := firstRetry
	for {
		err := p.ask(ctx)
		low, high := p.bundle.Polling.interval()
		wait := low + time.Duration(rand.Int64N(int64(high-low)+1))
		if err == nil {
			retry = firstRetry
		} else { // the plugin's status has it
			wait = min(retry, high)
			retry = min(2*retry, high)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case done := <-p.asked:
			timer.Stop()
			_ = p.ask(ctx)
			close(done)
		}
	}
}

// ask returns when the source has answered or the guard has given it up. Trigger
// itself must not be cut off: it would leave its download running beside the
// next one, and the two share state.
func (p *poller) ask(ctx context.Context) error {
	defer p.after()
	return p.loader.Trigger(context.WithoutCancel(ctx))
}

// refresh asks now and waits for the answer.
func (p *poller) refresh(ctx context.Context) error {
	done := make(chan struct{})
	select {
	case p.asked <- done:
	case <-p.stopped:
		return errClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-done:
		return nil
	case <-p.stopped:
		return errClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p Polling) timeout() time.Duration {
	if p.Timeout == 0 {
		return defaultTimeToLoad
	}
	return p.Timeout
}

func (p Polling) interval() (low, high time.Duration) {
	if p.Min == 0 && p.Max == 0 {
		return defaultPollMin, defaultPollMax
	}
	low = max(p.Min, time.Second)
	return low, max(p.Max, low)
}

// remoteStatus follows what OPA's plugin says of a bundle.
func (e *Engine) remoteStatus(s opabundle.Status) {
	var list []string
	if s.Code != "" {
		for _, err := range s.Errors {
			list = append(list, err.Error())
		}
		if len(list) == 0 {
			list = []string{s.Message}
		}
	}
	e.loaded(s.Name, list)
}

// guard stands between OPA's downloader and the network: it hands credentials
// on and bounds what comes back.
type guard struct {
	inner   rest.HTTPAuthPlugin
	limit   int64
	archive bool // every body is a bundle; otherwise those that look like one
	timeout time.Duration
	ctx     context.Context // of the engine: its end cuts a download off
	signer  *s3Signer       // nil: inner logs in

	mu     sync.Mutex
	client *http.Client // made once: OPA asks for one at each pull of an image
}

func newGuard(ctx context.Context, b Bundle, r *remoteSource) (*guard, error) {
	raw, err := json.Marshal(map[string]any{"credentials": r.credentials})
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	var config rest.Config
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	inner, err := config.AuthPlugin(nil)
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	return &guard{ctx: ctx, timeout: b.Polling.timeout(), inner: inner, limit: b.maxBytes(), archive: b.scheme() != "oci", signer: r.signer}, nil
}

// Start, Stop and Reconfigure make the guard a plugin of OPA's manager.
func (*guard) Start(context.Context) error { return nil }

// Stop lets go of the connections to the source.
func (g *guard) Stop(context.Context) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.client != nil {
		g.client.CloseIdleConnections()
	}
}

// Reconfigure does nothing.
func (*guard) Reconfigure(context.Context, any) {}

// NewClient implements rest.HTTPAuthPlugin.
func (g *guard) NewClient(c rest.Config) (*http.Client, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.client != nil {
		return g.client, nil
	}
	client, err := g.inner.NewClient(c)
	if err != nil {
		return nil, err
	}
	next := client.Transport
	if next == nil {
		next = http.DefaultTransport
	}
	client.Transport = &guardedTransport{guard: g, next: next}
	g.client = client
	return client, nil
}

// Prepare implements rest.HTTPAuthPlugin.
func (g *guard) Prepare(r *http.Request) error {
	if g.signer != nil {
		return g.signer.sign(r, time.Now())
	}
	return g.inner.Prepare(r)
}

type guardedTransport struct {
	*guard
	next http.RoundTripper
}

// CloseIdleConnections is what http.Client's method of that name calls.
func (t *guardedTransport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok && t.next != http.DefaultTransport {
		c.CloseIdleConnections()
	}
}

// RoundTrip implements http.RoundTripper.
func (t *guardedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), t.timeout)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()
	resp, err := t.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, t.limit+1))
	_ = resp.Body.Close() // read to its end or given up
	if err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	bundle := resp.StatusCode == http.StatusOK && req.Method == http.MethodGet
	if !bundle {
		raw = raw[:min(int64(len(raw)), t.limit)]
	} else if int64(len(raw)) > t.limit {
		return nil, fmt.Errorf("%w: more than %d bytes packed", errTooLarge, t.limit)
	}
	// A registry also answers with JSON.
	if bundle && (t.archive && len(raw) > 0 || bytes.HasPrefix(raw, gzipMagic)) {
		if err := checkArchive(raw, t.limit); err != nil {
			return nil, err
		}
	}
	resp.Body = io.NopCloser(bytes.NewReader(raw))
	return resp, nil
}

var gzipMagic = []byte{0x1f, 0x8b}

// opaLogger hands OPA's log lines on. OPA is chatty: its info is debug here.
type opaLogger struct{ log logrus.FieldLogger }

// Debug implements logging.Logger.
func (l opaLogger) Debug(format string, a ...any) { l.log.Debugf(format, a...) }

// Info implements logging.Logger.
func (l opaLogger) Info(format string, a ...any) { l.log.Debugf(format, a...) }

// Warn implements logging.Logger.
func (l opaLogger) Warn(format string, a ...any) { l.log.Warnf(format, a...) }

// Error implements logging.Logger.
func (l opaLogger) Error(format string, a ...any) { l.log.Errorf(format, a...) }

// WithFields implements logging.Logger.
func (l opaLogger) WithFields(fields map[string]any) logging.Logger {
	return opaLogger{l.log.WithFields(fields)}
}

// GetLevel implements logging.Logger. Below debug OPA does not read the bodies
// of error responses into memory.
func (opaLogger) GetLevel() logging.Level { return logging.Info }

// SetLevel implements logging.Logger.
func (opaLogger) SetLevel(logging.Level) {}
