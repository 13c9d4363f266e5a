package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"github.com/regate-dev/regate/engine/identity"
)

// Target is one cluster.
type Target struct {
	Name   string
	Labels map[string]string
	// Hosts are the host names by which agents reach it. It can always be reached
	// below the path /clusters/<name>, and without either where it is the only
	// target of a listener.
	Hosts []string
	// Upstream is the API server, its authority and the gateway's own credential.
	Upstream *rest.Config
	// Impersonate makes the API server decide by the agent's own rights, too.
	Impersonate Impersonation
}

// Impersonation says who a request is made for. The gateway's credential must
// be allowed to impersonate them.
type Impersonation struct {
	Enabled     bool
	UserPrefix  string // in front of the subject's id
	GroupPrefix string // in front of each of its groups
	Groups      []string
}

// reserved begins the names of Kubernetes' own users and groups. A token that
// could name one would be worth more than its issuer means.
const reserved = "system:"

// of returns the headers that impersonate id. A nil map is no impersonation.
func (i Impersonation) of(id *identity.Identity) (http.Header, error) {
	if !i.Enabled {
		return nil, nil
	}
	user := i.UserPrefix + id.Subject.ID
	h := http.Header{"Impersonate-User": {user}}
	groups := slices.Clone(i.Groups)
	for _, g := range id.Subject.Groups {
		groups = append(groups, i.GroupPrefix+g)
	}
	for _, name := range append([]string{user}, groups...) {
		if strings.HasPrefix(name, reserved) || name == "" || strings.ContainsAny(name, "\r\n\x00") {
			return nil, fmt.Errorf("the token names %q, which only the cluster itself may be", name)
		}
	}
	h["Impersonate-Group"] = groups
	extra := func(key, value string) {
		if value != "" && !strings.ContainsAny(value, "\r\n\x00") {
			h["Impersonate-Extra-"+key] = []string{value}
		}
	}
	extra("Regate-Issuer", id.Subject.Issuer)
	if id.Actor != nil {
		extra("Regate-Actor", id.Actor.ID)
	}
	return h, nil
}

// Check says whether the target can work at all, as far as that can be told
// without asking the cluster.
func (t Target) Check() error {
	_, err := newTarget(t)
	return err
}

// target is a Target in use.
type target struct {
	Target
	base   *url.URL
	config *rest.Config      // for streams, which have a connection each
	round  http.RoundTripper // with the gateway's credential

	mu      sync.Mutex
	version string
	asked   time.Time
}

func newTarget(t Target) (*target, error) {
	if t.Upstream == nil {
		return nil, errors.New("there is no API server")
	}
	config := rest.CopyConfig(t.Upstream)
	// What the agent gets is read here, so it must come as it is.
	config.DisableCompression = true
	config.Impersonate = rest.ImpersonationConfig{}
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	round, err := rest.TransportFor(config)
	if err != nil {
		return nil, fmt.Errorf("credential: %w", err)
	}
	base.Path = strings.TrimSuffix(base.Path, "/")
	return &target{Target: t, base: base, config: config, round: guarded{round, t.Impersonate.Enabled}}, nil
}

// guarded is the last thing before the gateway's credential is added: a request
// that still says who it is from does not pass.
type guarded struct {
	next        http.RoundTripper
	impersonate bool
}

// RoundTrip implements http.RoundTripper.
func (g guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := g.check(r); err != nil {
		return nil, err
	}
	return g.next.RoundTrip(r)
}

func (g guarded) check(r *http.Request) error {
	for name := range r.Header {
		lower := strings.ToLower(name)
		switch {
		case lower == "authorization", lower == "cookie", lower == "proxy-authorization", strings.HasPrefix(lower, "x-remote-"), strings.HasPrefix(lower, "x-forwarded-"):
			return fmt.Errorf("kubernetes: the header %s would reach the API server", name)
		case strings.HasPrefix(lower, "impersonate-") && !g.impersonate:
			return fmt.Errorf("kubernetes: the header %s would reach the API server", name)
		case lower == "connection" && r.Header.Get("Upgrade") == "":
			return errors.New("kubernetes: the header Connection would reach the API server")
		}
	}
	if g.impersonate && r.Header.Get("Impersonate-User") == "" {
		return errors.New("kubernetes: a request would reach the API server in the gateway's own name")
	}
	return nil
}

// versionAge is how long a cluster's version is believed.
const versionAge = 10 * time.Minute

// serverVersion asks the API server for its version, "" while it does not
// answer. It is for policies to know, so nothing waits long for it.
func (t *target) serverVersion(ctx context.Context) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.asked) < versionAge {
		return t.version
	}
	t.asked = time.Now()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	u := *t.base
	u.Path += "/version"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return t.version
	}
	round := t.round
	if g, ok := round.(guarded); ok {
		round = g.next // the gateway asks for itself
	}
	resp, err := round.RoundTrip(req)
	if err != nil {
		return t.version
	}
	defer resp.Body.Close()
	var v struct {
		GitVersion string `json:"gitVersion"`
	}
	if json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&v) == nil && resp.StatusCode == http.StatusOK {
		t.version = v.GitVersion
	}
	return t.version
}
