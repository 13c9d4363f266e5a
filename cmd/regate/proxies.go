package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/regate-dev/regate/engine/config"
	"github.com/regate-dev/regate/proxies/postgres"
	"github.com/regate-dev/regate/proxies/postgres/analyze"
	"github.com/regate-dev/regate/proxies/postgres/handshake"
	"github.com/regate-dev/regate/proxies/postgres/upstream"
)

// postgresTarget translates one target of the configuration. Its files are
// read here.
func postgresTarget(t config.Target) (postgres.Target, error) {
	out := postgres.Target{
		Name: t.Name, Labels: t.Labels, Databases: t.Match.Databases, ServerNames: t.Match.SNI,
		Role: postgres.Role{
			Name: t.Role.Name, Claim: t.Role.Claim, Map: t.Role.Map, Default: t.Role.Default, Allowed: t.Role.AllowSetRole,
		},
		CatalogAge: t.Catalog.MaxAge, MaxConnections: t.Limits.MaxConnections,
		Upstream: upstream.Target{
			Address: t.Address, Database: t.Database, User: t.User, Settings: t.Settings,
			ConnectTimeout: t.Limits.ConnectTimeout, DirectTLS: t.TLS.Direct,
		},
	}
	if t.Password.IsSet() {
		out.Upstream.Password = func() (string, error) { return t.Password.Reveal(), nil }
	}
	for _, a := range t.Auth {
		out.Upstream.Auth = append(out.Upstream.Auth, upstream.Auth(a))
	}
	if t.TLS.Mode == config.TLSDisable {
		return out, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.TLS.ServerName}
	if t.TLS.CAFile != "" {
		pool, err := readPool(t.TLS.CAFile)
		if err != nil {
			return out, fmt.Errorf("target %q: %w", t.Name, err)
		}
		conf.RootCAs = pool
	}
	if t.TLS.CertFile != "" {
		pair, err := handshake.NewReloader(t.TLS.CertFile, t.TLS.KeyFile, nil)
		if err != nil {
			return out, fmt.Errorf("target %q: %w", t.Name, err)
		}
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair.GetCertificate(nil) }
	}
	out.Upstream.TLS = conf
	return out, nil
}

// postgresTargets translates all of them and reports every one that cannot
// work.
func postgresTargets(cfg *config.Config) ([]postgres.Target, error) {
	var out []postgres.Target
	var errs []error
	for _, t := range ofProtocol(cfg.Targets, "postgres") {
		target, err := postgresTarget(t)
		if err == nil {
			err = checkUpstream(target)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, target)
	}
	return out, errors.Join(errs...)
}

func checkUpstream(t postgres.Target) error {
	up := t.Upstream
	if up.Database == "" {
		up.Database = "postgres" // the agent's choice stands for it later
	}
	if err := up.Check(); err != nil {
		return fmt.Errorf("target %q: %w", t.Name, err)
	}
	return nil
}

func analyzeOptions(cfg *config.Config) analyze.Options {
	c := cfg.Postgres.SQL
	return analyze.Options{MaxBytes: int(c.MaxBytes), MaxChain: c.MaxChain, CacheBytes: none(int(c.CacheBytes))}
}

// postgresFront is how a listener receives agents.
func postgresFront(cfg *config.Config, l config.Listener, log logrus.FieldLogger) (*handshake.Front, error) {
	front := &handshake.Front{
		Plaintext: l.Plaintext, Timeout: l.Limits.HandshakeTimeout, MaxStartup: int(l.Limits.MaxStartupBytes),
		OAuthBearer: l.OAuthBearer.Enabled, OAuthFirst: l.OAuthBearer.First, Scope: l.OAuthBearer.Scope,
	}
	if front.OAuthBearer {
		front.Discovery = discoveryURL(cfg.Identity.Issuers, l.OAuthBearer.Issuer)
	}
	if !l.TLS.Enabled() {
		return front, nil
	}
	conf, err := serverTLS(l.TLS, log)
	if err != nil {
		return nil, fmt.Errorf("listener %s: %w", l.Address, err)
	}
	conf.NextProtos = []string{"postgresql"}
	front.TLS = func() *tls.Config { return conf }
	return front, nil
}

// discoveryURL is where OAUTHBEARER clients learn how to get a token.
func discoveryURL(issuers []config.Issuer, name string) string {
	for _, is := range issuers {
		switch {
		case name != "" && is.Name != name:
		case is.DiscoveryURL != "":
			return is.DiscoveryURL
		case is.URL != "":
			return strings.TrimSuffix(is.URL, "/") + "/.well-known/openid-configuration"
		}
	}
	return ""
}

// listenerTLS is what a listener shows, nil where it has no certificate.
func listenerTLS(address string, t config.ServerTLS, log logrus.FieldLogger) (*tls.Config, error) {
	if !t.Enabled() {
		return nil, nil
	}
	conf, err := serverTLS(t, log)
	if err != nil {
		return nil, fmt.Errorf("listener %s: %w", address, err)
	}
	return conf, nil
}

// serverTLS is a certificate that is loaded anew when its files change.
func serverTLS(t config.ServerTLS, log logrus.FieldLogger) (*tls.Config, error) {
	log = log.WithField("certificate", t.Cert)
	pair, err := handshake.NewReloader(t.Cert, t.Key, func(err error) {
		if err != nil {
			log.WithError(err).Error("the new certificate cannot be used; the old one stays")
			return
		}
		log.Info("certificate loaded anew")
	})
	if err != nil {
		return nil, err
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: pair.GetCertificate}
	if t.ClientCA != "" {
		if conf.ClientCAs, err = readPool(t.ClientCA); err != nil {
			return nil, err
		}
		conf.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return conf, nil
}

func readPool(name string) (*x509.CertPool, error) {
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("%s holds no certificate", name)
	}
	return pool, nil
}
