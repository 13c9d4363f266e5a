package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/elazarl/goproxy"
)

// leaves keeps certificates, as goproxy's documentation advises.
type leaves struct {
	mu   sync.Mutex
	kept map[string]*tls.Certificate
}

// Fetch implements goproxy.CertStorage.
func (l *leaves) Fetch(host string, sign func() (*tls.Certificate, error)) (*tls.Certificate, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.kept[host]; c != nil {
		return c, nil
	}
	c, err := sign()
	if err == nil {
		l.kept[host] = c
	}
	return c, err
}

// serveGoproxy is goproxy with its own interception: a peer. what is the folder
// of an authority, the backend's certificate and an address.
func serveGoproxy(what string) error {
	parts := strings.Split(what, ",")
	if len(parts) != 3 {
		return fmt.Errorf("-goproxy wants FOLDER,CERTIFICATE,ADDRESS")
	}
	ca, err := tls.LoadX509KeyPair(filepath.Join(parts[0], "ca.pem"), filepath.Join(parts[0], "ca-key.pem"))
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(parts[1])
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(raw)
	p := goproxy.NewProxyHttpServer()
	p.Tr = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, MaxIdleConnsPerHost: 64}
	p.CertStore = &leaves{kept: map[string]*tls.Certificate{}}
	action := &goproxy.ConnectAction{Action: goproxy.ConnectMitm, TLSConfig: goproxy.TLSConfigFromCA(&ca)}
	p.OnRequest().HandleConnectFunc(func(host string, _ *goproxy.ProxyCtx) (*goproxy.ConnectAction, string) { return action, host })
	return http.ListenAndServe(parts[2], p)
}
