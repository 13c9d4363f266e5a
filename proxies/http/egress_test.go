package httpproxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
)

func TestEgressChecks(t *testing.T) {
	own := &addresses{}
	own.add(&net.TCPAddr{IP: net.IPv4zero, Port: 8443})
	forward, named := newOutbound(nil, Egress{}, true, own), newOutbound(nil, Egress{}, false, own)
	allowed := newOutbound(nil, Egress{Networks: prefixes("10.1.0.0/16", "127.0.0.0/8")}, true, own)
	for _, c := range []struct {
		address                 string
		port                    int
		forward, named, allowed bool
	}{
		{"93.184.216.34", 443, true, true, true},
		{"2606:2800:220:1::1", 443, true, true, true},
		{"10.1.2.3", 443, false, true, true},
		{"10.2.2.3", 443, false, true, false},
		{"127.0.0.1", 80, false, true, true},
		{"127.0.0.1", 8443, false, false, false}, // the gateway itself, however it is allowed
		{"::1", 80, false, true, false},
		{"::1", 8443, false, false, false},
		{"::ffff:127.0.0.1", 80, false, true, true},
		{"::ffff:169.254.169.254", 80, false, false, false},
		{"169.254.169.254", 80, false, false, false},
		{"100.100.100.200", 80, false, false, false},
		{"168.63.129.16", 80, false, false, false},
		{"fd00:ec2::254", 80, false, false, false},
		{"fd12::1", 80, false, true, false},
		{"fe80::1", 80, false, false, false},
		{"64:ff9b::a9fe:a9fe", 80, false, false, false}, // NAT64 of 169.254.169.254
		{"64:ff9b::5db8:d822", 80, true, true, true},    // NAT64 of a public address
		{"2002:a9fe:a9fe::1", 80, false, false, false},  // 6to4 of it
		{"2001:0:1:2::3", 80, false, false, false},      // Teredo
		{"::a9fe:a9fe", 80, false, false, false},        // IPv4-compatible
		{"::ffff:0:a9fe:a9fe", 80, false, false, false}, // SIIT
		{"0.0.0.0", 80, false, false, false},
		{"::", 80, false, false, false},
		{"224.0.0.1", 80, false, false, false},
		{"255.255.255.255", 80, false, false, false},
		{"192.0.0.192", 80, false, false, false},
		{"100.64.0.1", 80, false, true, false},
	} {
		ip := netip.MustParseAddr(c.address)
		for _, o := range []struct {
			name string
			o    *outbound
			want bool
		}{{"forward", forward, c.forward}, {"named", named, c.named}, {"allowed", allowed, c.allowed}} {
			if got := o.o.check(ip, c.port) == nil; got != o.want {
				t.Errorf("%s:%d, %s: %v", c.address, c.port, o.name, got)
			}
		}
	}
}

// A name with one bad address has none, and what was checked is what is
// dialled.
func TestEgressResolvesOnce(t *testing.T) {
	o := newOutbound(nil, Egress{}, true, &addresses{})
	asked := 0
	o.lookup = func(context.Context, string, string) ([]netip.Addr, error) {
		asked++
		return []netip.Addr{netip.MustParseAddr("93.184.216.34"), netip.MustParseAddr("127.0.0.1")}, nil
	}
	_, err := o.dial(t.Context(), "tcp", "rebound.example:80")
	var refused *errEgress
	if !errors.As(err, &refused) || asked != 1 {
		t.Errorf("%v, asked %d times", err, asked)
	}
}
