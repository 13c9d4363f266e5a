package httpproxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/mask"
	"github.com/regate-dev/regate/proxies/http/request"
)

// Config is what a Server needs. Gate, Keyring and Reads are required.
type Config struct {
	Gate    *engine.Gate
	Keyring *mask.Keyring
	Targets []Target
	// Forward is the target that a forward proxy's requests are for; nil where
	// there is none.
	Forward *Forward
	// Reads reports whether a policy in force reads input.<path> of this
	// protocol.
	Reads func(path ...string) bool
	// MaxSessions bounds open sessions; 0 means 10000.
	MaxSessions int
	Logger      logrus.FieldLogger
}

// Target is one HTTP API behind the gateway.
type Target struct {
	Name   string
	Labels map[string]string
	// Hosts and Prefix say which requests are for it: by Host header (canonical,
	// without a port), or by the path's first segments, "/u/billing", which the
	// upstream does not see.
	Hosts  []string
	Prefix string
	// Upstream is where requests go: "https://api.example.com/v1". Its path
	// comes before that of the request.
	Upstream string
	TLS      *tls.Config // client certificate and authorities; nil for the system's
	Request  request.Options
	// Credential is added to each request that was allowed; nil adds none.
	Credential *Credential
	Egress     Egress
}

// Forward is the forward proxy.
type Forward struct {
	Name    string // of the target in policies and records
	Labels  map[string]string
	TLS     *tls.Config // towards upstreams; nil for the system's
	Request request.Options
	Egress  Egress
	// Authority signs certificates for what is intercepted. Without one, CONNECT
	// is refused: what is not seen cannot be decided.
	Authority *Authority
	// Credentials are added by the origin that a request goes to, "https://api.example.com".
	Credentials map[string]*Credential
}

// Egress says where the gateway may connect to.
type Egress struct {
	// Networks are allowed beside public addresses.
	Networks []netip.Prefix
	// Ports are allowed; nil: any for a target, 80 and 443 for the forward proxy.
	Ports []int
}

// Listener is one address for agents.
type Listener struct {
	Net     net.Listener
	TLS     *tls.Config // nil: plain HTTP, for loopback only
	Targets []string    // names of the targets behind it; empty means all
	Forward bool        // it is the forward proxy
}

// Bounds of connections and requests.
const (
	headerTimeout  = 10 * time.Second // to a request's head
	bodyTimeout    = 60 * time.Second // to the whole of a body that is read
	idleConnection = 2 * time.Minute
	maxHeader      = 128 << 10 // bytes of a request's head
	maxStreams     = 250       // requests at once on an HTTP/2 connection
	maxConnections = 10_000    // of one listener; more wait
	maxAnswerHead  = 256 << 10 // bytes of an answer's head
	dialTimeout    = 10 * time.Second
	answerTimeout  = 5 * time.Minute // to the head of an answer
)

// target is a Target at work.
type target struct {
	name    string
	labels  map[string]string
	hosts   []string
	prefix  string
	origin  request.Origin // zero for the forward proxy: any
	base    string         // path before the request's
	mode    string
	decoder *request.Decoder
	out     *outbound
	creds   map[string]*Credential // by origin
}

func newTarget(t Target, own *addresses) (*target, error) {
	scheme, rest, ok := strings.Cut(t.Upstream, "://")
	if !ok || scheme != "http" && scheme != "https" {
		return nil, errors.New("the upstream is no URL that begins with http:// or https://")
	}
	authority, path, _ := strings.Cut(rest, "/")
	origin, err := request.ParseOrigin(scheme, authority)
	if err != nil {
		return nil, fmt.Errorf("the upstream: %w", err)
	}
	if strings.ContainsAny(path, "?#") {
		return nil, errors.New("the upstream has a query or a fragment")
	}
	decoder, err := request.NewDecoder(t.Request)
	if err != nil {
		return nil, err
	}
	made := &target{
		name: t.Name, labels: t.Labels, hosts: t.Hosts, prefix: strings.TrimSuffix(t.Prefix, "/"), origin: origin, mode: "reverse", decoder: decoder,
		base: strings.TrimSuffix("/"+path, "/"),
		out:  newOutbound(t.TLS, t.Egress, false, own),
	}
	if t.Credential != nil {
		t.Credential.certified(t.TLS, t.Egress, false, own)
		made.creds = map[string]*Credential{origin.String(): t.Credential}
	}
	return made, nil
}

func newForward(f Forward, own *addresses) (*target, error) {
	decoder, err := request.NewDecoder(f.Request)
	if err != nil {
		return nil, err
	}
	if f.Egress.Ports == nil {
		f.Egress.Ports = []int{80, 443}
	}
	for _, c := range f.Credentials {
		c.certified(f.TLS, f.Egress, true, own)
	}
	return &target{name: f.Name, labels: f.Labels, mode: "forward", decoder: decoder, out: newOutbound(f.TLS, f.Egress, true, own), creds: f.Credentials}, nil
}

// round makes connections to an origin: where a certificate is for it alone, on
// connections of its own.
func (t *target) round(o request.Origin) *http.Transport {
	if c := t.creds[o.String()]; c != nil && c.round != nil {
		return c.round
	}
	return t.out.round
}

// outbounds are the makers of all connections of the target.
func (t *target) outbounds() []*http.Transport {
	list := []*http.Transport{t.out.round}
	for _, c := range t.creds {
		if c.round != nil {
			list = append(list, c.round)
		}
	}
	return list
}
