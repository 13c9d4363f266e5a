package devissuer

import (
	"context"
	"fmt"
	"net"
)

// Listen opens a TCP listener on a loopback address, such as "127.0.0.1:9400"
// or "127.0.0.1:0", and refuses any other.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if !loopback(host) {
		return nil, fmt.Errorf("listen on %q: the development issuer listens on loopback only: people choose who they are on it", address)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	// The name localhost is whatever the resolver says.
	if tcp, ok := l.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		_ = l.Close()
		return nil, fmt.Errorf("listen on %q: it is not a loopback address", address)
	}
	return l, nil
}
