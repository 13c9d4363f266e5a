package request

import (
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// Origin is where a request goes.
type Origin struct {
	Scheme string // "http" or "https"
	Host   string // canonical: lower case, A-labels, no trailing dot; an IPv6 address without brackets
	Port   int
}

// String returns the origin as in a URL, without the scheme's own port.
func (o Origin) String() string { return o.Scheme + "://" + o.Authority() }

// Authority returns host and port for a Host header.
func (o Origin) Authority() string {
	host := o.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if o.Port == defaultPort(o.Scheme) {
		return host
	}
	return host + ":" + strconv.Itoa(o.Port)
}

// Address returns host and port for a dialer.
func (o Origin) Address() string {
	host := o.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(o.Port)
}

func defaultPort(scheme string) int {
	if scheme == "https" {
		return 443
	}
	return 80
}

// ParseOrigin reads an authority, as a Host header, a CONNECT or a URL has it,
// for a scheme. The error is a *Refusal.
func ParseOrigin(scheme, authority string) (Origin, error) {
	o := Origin{Scheme: scheme, Port: defaultPort(scheme)}
	host, port := authority, ""
	switch {
	case authority == "":
		return o, refuse(ReasonHost, "Send one Host header.", "the request names no host")
	case len(authority) > 300:
		return o, refuse(ReasonHost, "", "the host is longer than a name can be")
	case strings.ContainsAny(authority, "@/\\?# \t"):
		return o, refuse(ReasonHost, "Send a name or an address, and nothing else.", "the host %q is not a plain name or address", authority)
	case strings.HasPrefix(authority, "["):
		end := strings.IndexByte(authority, ']')
		if end < 0 {
			return o, refuse(ReasonHost, "", "the host %q is not a plain name or address", authority)
		}
		host, port = authority[:end+1], authority[end+1:]
	default:
		if i := strings.LastIndexByte(authority, ':'); i >= 0 {
			host, port = authority[:i], authority[i:]
		}
	}
	if port != "" {
		n, err := strconv.ParseUint(port[1:], 10, 16)
		if err != nil || n == 0 || port[0] != ':' || port[1] == '0' {
			return o, refuse(ReasonHost, "", "the port of %q is not a port", authority)
		}
		o.Port = int(n)
	}
	name, err := canonicalHost(host)
	if err != nil {
		return o, err
	}
	o.Host = name
	return o, nil
}

var names = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(false))

func canonicalHost(host string) (string, error) {
	bad := func() (string, error) {
		return "", refuse(ReasonHost, "Send a name, or an address in its usual form.", "the host %q is not a plain name or address", host)
	}
	if strings.HasPrefix(host, "[") {
		ip, err := netip.ParseAddr(strings.TrimSuffix(host[1:], "]"))
		if err != nil || !ip.Is6() || ip.Zone() != "" || ip.Is4In6() {
			return bad()
		}
		return ip.String(), nil
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if !ip.Is4() {
			return bad()
		}
		return ip.String(), nil
	}
	name, err := names.ToASCII(host)
	if err != nil {
		return bad()
	}
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	// Some of what can be mapped cannot be read back: then it names two hosts.
	if again, err := names.ToASCII(name); err != nil || again != name {
		return bad()
	}
	if name == "" || len(name) > 253 {
		return bad()
	}
	labels := strings.Split(name, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return bad()
		}
	}
	// Some resolvers take a name that ends in a number for an address:
	// 2130706433, 0x7f.1 and 127.1 are all 127.0.0.1 to them.
	last := labels[len(labels)-1]
	if strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") && strings.Trim(last[2:], "0123456789abcdef") == "" {
		return bad()
	}
	return name, nil
}
