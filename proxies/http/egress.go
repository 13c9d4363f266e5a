package httpproxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"
)

// errEgress is why a connection was not made.
type errEgress struct{ why string }

func (e *errEgress) Error() string { return e.why }

// never are networks that are not for requests of agents unless they are
// allowed by name: the machine itself, its links, the metadata of clouds, and
// what is not assigned. RFC 6890 and the clouds' own documents.
var never = prefixes(
	"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.51.100.0/24", "203.0.113.0/24",
	"224.0.0.0/4", "240.0.0.0/4", "100.100.100.200/32", "168.63.129.16/32",
	"::/96", "fe80::/10", "ff00::/8", "fd00:ec2::/32", "100::/64", "2001:db8::/32", "2001::/23", "fec0::/10",
)

// private are networks of an organisation: for targets that the operator has
// named, not for the forward proxy unless they are allowed.
var private = prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "198.18.0.0/15", "fc00::/7")

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, p := range list {
		out[i] = netip.MustParsePrefix(p)
	}
	return out
}

// embedded are IPv6 networks that carry an IPv4 address, and at which byte.
var embedded = []struct {
	network netip.Prefix
	at      int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12},    // NAT64
	{netip.MustParsePrefix("64:ff9b:1::/48"), 12},  // NAT64 of an organisation
	{netip.MustParsePrefix("2002::/16"), 2},        // 6to4
	{netip.MustParsePrefix("::/96"), 12},           // IPv4-compatible
	{netip.MustParsePrefix("::ffff:0:0:0/96"), 12}, // SIIT
}

// addresses are those that the gateway itself listens on.
type addresses struct {
	mu   sync.RWMutex
	list []netip.AddrPort
}

func (a *addresses) add(addr net.Addr) {
	if t, ok := addr.(*net.TCPAddr); ok {
		a.mu.Lock()
		a.list = append(a.list, t.AddrPort())
		a.mu.Unlock()
	}
}

// has reports whether a connection to ip and port would come back here.
func (a *addresses) has(ip netip.Addr, port int) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, own := range a.list {
		if int(own.Port()) != port {
			continue
		}
		addr := own.Addr().Unmap()
		if addr == ip || addr.IsUnspecified() && isLocal(ip) {
			return true
		}
	}
	return false
}

func isLocal(ip netip.Addr) bool {
	if ip.IsLoopback() {
		return true
	}
	list, err := net.InterfaceAddrs()
	if err != nil {
		return true // not known: it may be
	}
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Unmap() == ip {
			return true
		}
	}
	return false
}

// outbound makes the connections to one target, each to an address that was
// checked: a name is resolved once for a connection, and what was checked is
// what is dialled.
type outbound struct {
	egress  Egress
	forward bool
	own     *addresses
	lookup  func(ctx context.Context, network, host string) ([]netip.Addr, error)
	round   *http.Transport
}

func newOutbound(conf *tls.Config, egress Egress, forward bool, own *addresses) *outbound {
	o := &outbound{egress: egress, forward: forward, own: own, lookup: net.DefaultResolver.LookupNetIP}
	if conf == nil {
		conf = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	o.round = &http.Transport{
		DialContext: o.dial, TLSClientConfig: conf, TLSHandshakeTimeout: dialTimeout, ForceAttemptHTTP2: true,
		DisableCompression: true, MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second,
		MaxResponseHeaderBytes: maxAnswerHead, ResponseHeaderTimeout: answerTimeout, ExpectContinueTimeout: time.Second,
	}
	return o
}

func (o *outbound) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, err
	}
	if o.egress.Ports != nil && !slices.Contains(o.egress.Ports, port) {
		return nil, &errEgress{fmt.Sprintf("port %d is not one that the gateway connects to", port)}
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var list []netip.Addr
	if ip, err := netip.ParseAddr(host); err == nil {
		list = []netip.Addr{ip}
	} else if list, err = o.lookup(ctx, "ip", host); err != nil {
		return nil, err
	}
	// One bad address among good ones is how a name is turned against who
	// resolves it twice.
	for i, ip := range list {
		list[i] = ip.Unmap()
		if err := o.check(ip, port); err != nil {
			return nil, err
		}
	}
	var d net.Dialer
	err = errors.New("the name has no address")
	for _, ip := range list {
		var conn net.Conn
		if conn, err = d.DialContext(ctx, "tcp", netip.AddrPortFrom(ip, uint16(port)).String()); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// check says whether the gateway may connect to an address. The error is an
// *errEgress.
func (o *outbound) check(ip netip.Addr, port int) error {
	if ip.Zone() != "" {
		return &errEgress{"an address has a zone"}
	}
	ip = ip.Unmap()
	if o.own.has(ip, port) {
		return &errEgress{"the address is the gateway's own"}
	}
	allowed := func(ip netip.Addr) bool {
		return slices.ContainsFunc(o.egress.Networks, func(p netip.Prefix) bool { return p.Contains(ip) })
	}
	if allowed(ip) {
		return nil
	}
	if !o.forward && ip.IsLoopback() {
		return nil // the operator has named it
	}
	refused := &errEgress{fmt.Sprintf("the address %s is in a network that agents do not get to", ip)}
	for _, e := range embedded {
		if !e.network.Contains(ip) {
			continue
		}
		raw := ip.As16()
		inner := netip.AddrFrom4([4]byte(raw[e.at : e.at+4]))
		if o.check(inner, port) != nil {
			return refused
		}
	}
	contains := func(p netip.Prefix) bool { return p.Contains(ip) }
	if !ip.IsValid() || slices.ContainsFunc(never, contains) || o.forward && slices.ContainsFunc(private, contains) {
		return refused
	}
	return nil
}
