package console

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"
)

// Timeouts of the API's connections. Its answers are small and quick.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 60 * time.Second
	maxHeaderBytes    = 64 << 10 // a token may have 16 KiB
	shutdownTimeout   = 5 * time.Second
)

// ErrPlaintext refuses to serve tokens over a network without TLS.
var ErrPlaintext = errors.New("the admin API listens beyond loopback without TLS")

// Serve answers on ln until ctx ends, then lets requests in progress finish.
// Without cfg it speaks plain HTTP, and only on loopback.
func (c *Console) Serve(ctx context.Context, ln net.Listener, cfg *tls.Config) error {
	if cfg == nil {
		if a, ok := ln.Addr().(*net.TCPAddr); !ok || !a.IP.IsLoopback() {
			return fmt.Errorf("serve %s: %w", ln.Addr(), ErrPlaintext)
		}
	} else {
		cfg = cfg.Clone()
		cfg.NextProtos = []string{"h2", "http/1.1"}
		ln = tls.NewListener(ln, cfg)
	}
	srv := &http.Server{
		Handler: c, ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout,
		WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		// Handshakes that fail are scanners and probes: not worth a line each.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		stopped <- srv.Shutdown(ctx)
	})
	err := srv.Serve(ln)
	if stop() { // Serve failed by itself
		_ = srv.Close()
		return fmt.Errorf("serve the admin API: %w", err)
	}
	return <-stopped
}
