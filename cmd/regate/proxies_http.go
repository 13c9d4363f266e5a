package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/regate-dev/regate/engine/config"
	"github.com/regate-dev/regate/engine/input"
	httpproxy "github.com/regate-dev/regate/proxies/http"
	"github.com/regate-dev/regate/proxies/http/request"
	"github.com/regate-dev/regate/proxies/postgres/handshake"
)

// httpTarget translates one HTTP target of the configuration. Its files are
// read here.
func httpTarget(t config.HTTPTarget) (httpproxy.Target, error) {
	out := httpproxy.Target{Name: t.Name, Labels: t.Labels, Prefix: t.Prefix, Upstream: t.Upstream}
	fail := func(err error) (httpproxy.Target, error) { return out, fmt.Errorf("target %q: %w", t.Name, err) }
	for _, h := range t.Hosts {
		o, err := request.ParseOrigin("https", h)
		if err != nil {
			return fail(err)
		}
		out.Hosts = append(out.Hosts, o.Host)
	}
	var err error
	if out.TLS, err = httpClientTLS(t.TLS); err != nil {
		return fail(err)
	}
	if out.Request, err = httpRequest(t.Request); err != nil {
		return fail(err)
	}
	if out.Egress.Networks, err = networks(t.Networks); err != nil {
		return fail(err)
	}
	if t.Credential.IsSet() {
		if out.Credential, err = httpCredential(t.Credential); err != nil {
			return fail(err)
		}
	}
	return out, nil
}

func httpClientTLS(t config.HTTPClientTLS) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CAFile != "" {
		pool, err := readPool(t.CAFile)
		if err != nil {
			return nil, err
		}
		conf.RootCAs = pool
	}
	if t.CertFile != "" {
		pair, err := handshake.NewReloader(t.CertFile, t.KeyFile, nil)
		if err != nil {
			return nil, err
		}
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair.GetCertificate(nil) }
	}
	return conf, nil
}

func httpRequest(r config.HTTPRequest) (request.Options, error) {
	out := request.Options{
		Methods: r.Methods, Headers: lowered(r.Headers), Lists: r.Lists, GraphQL: r.GraphQL,
		EncodedSlash: r.EncodedSlash, Parameters: r.PathParameters, WebSocket: r.WebSocket, MaxBody: int64(r.MaxBody),
	}
	if r.OpenAPI == "" {
		return out, nil
	}
	document, err := os.ReadFile(r.OpenAPI)
	if err != nil {
		return out, err
	}
	out.Routes, err = request.LoadRoutes(document, r.OpenAPIBase)
	return out, err
}

func lowered(list []string) []string {
	for i, s := range list {
		list[i] = strings.ToLower(s)
	}
	return list
}

func networks(list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

func httpCredential(c config.HTTPCredential) (*httpproxy.Credential, error) {
	out := &httpproxy.Credential{Header: c.Header, Prefix: c.Prefix, Query: c.Query, User: c.User, Path: c.Path}
	out.Secret = func() (string, error) { return c.Secret.Reveal(), nil }
	if c.TokenURL != "" {
		out.OAuth = &httpproxy.OAuth{TokenURL: c.TokenURL, ClientID: c.ClientID, Scopes: c.Scopes, Parameters: c.Parameters}
	}
	if c.AWSService != "" {
		out.AWS = &httpproxy.AWS{Service: c.AWSService, Region: c.AWSRegion, AccessKeyID: c.AWSKeyID}
		if c.AWSSession.IsSet() {
			out.AWS.SessionToken = func() (string, error) { return c.AWSSession.Reveal(), nil }
		}
	}
	if c.CertFile != "" {
		pair, err := handshake.NewReloader(c.CertFile, c.KeyFile, nil)
		if err != nil {
			return nil, err
		}
		out.Certificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair.GetCertificate(nil) }
	}
	return out, nil
}

func httpForward(f config.HTTPForward) (*httpproxy.Forward, error) {
	out := &httpproxy.Forward{Name: f.Name, Labels: f.Labels, Credentials: map[string]*httpproxy.Credential{}}
	var err error
	if out.TLS, err = httpClientTLS(f.TLS); err != nil {
		return nil, err
	}
	if out.Request, err = httpRequest(f.Request); err != nil {
		return nil, err
	}
	if out.Egress.Networks, err = networks(f.Networks); err != nil {
		return nil, err
	}
	if len(f.Ports) > 0 {
		out.Egress.Ports = f.Ports
	}
	if f.CACert != "" {
		cert, err := os.ReadFile(f.CACert)
		if err != nil {
			return nil, err
		}
		key, err := os.ReadFile(f.CAKey)
		if err != nil {
			return nil, err
		}
		if out.Authority, err = httpproxy.LoadAuthority(cert, key); err != nil {
			return nil, err
		}
	}
	for _, c := range f.Credentials {
		scheme, authority, _ := strings.Cut(c.Origin, "://")
		origin, err := request.ParseOrigin(scheme, authority)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Origin, err)
		}
		if out.Credentials[origin.String()], err = httpCredential(c.Credential); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Origin, err)
		}
	}
	return out, nil
}

// httpParts translates the whole section and reports everything that cannot
// work.
func httpParts(cfg *config.Config) (targets []httpproxy.Target, forward *httpproxy.Forward, err error) {
	var errs []error
	for _, t := range cfg.HTTP.Targets {
		target, err := httpTarget(t)
		errs = append(errs, err)
		targets = append(targets, target)
	}
	for _, l := range cfg.HTTP.Listeners {
		if l.Forward && forward == nil {
			forward, err = httpForward(cfg.HTTP.Forward)
			if err != nil {
				errs = append(errs, fmt.Errorf("http.forward: %w", err))
			}
		}
	}
	return targets, forward, errors.Join(errs...)
}

func (g *gateway) openHTTP(context.Context) error {
	targets, forward, err := httpParts(g.cfg)
	if err != nil {
		return err
	}
	keyring, err := g.keyring()
	if err != nil {
		return err
	}
	g.http, err = httpproxy.New(httpproxy.Config{
		Gate: g.gate, Keyring: keyring, Targets: targets, Forward: forward,
		Reads:  func(path ...string) bool { return g.policy.Reads(input.HTTP, path...) },
		Logger: g.log.WithField("component", "http"),
	})
	return err
}
