package main

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/regate-dev/regate/engine/config"
	"github.com/regate-dev/regate/engine/console/web"
	"github.com/regate-dev/regate/engine/record"
	"github.com/regate-dev/regate/proxies/postgres/replay"
)

// openConsole puts the pages for people beside the admin API.
func (g *gateway) openConsole(ctx context.Context) error {
	c := g.cfg.Admin.Console
	if !c.Enabled() {
		return nil
	}
	key, err := cookieKey(g.cfg)
	if err != nil {
		return err
	}
	signIn, err := signIn(g.cfg)
	if err != nil {
		return err
	}
	recordings, err := g.recordings(ctx)
	if err != nil {
		return err
	}
	g.pages, err = web.New(web.Config{
		API: g.admin, Approvals: g.approvals, SignIn: signIn, URL: g.consoleURL(), Key: key, Session: c.Session,
		Gateway: g.cfg.Record.Gateway, Recordings: recordings, Live: g.consoleLive, Policy: g.policy.Status, Status: g.consoleStatus,
		Logger: g.log.WithField("component", "console"),
	})
	if err != nil {
		return err
	}
	g.onClose("console", func(context.Context) error { g.pages.Close(); return nil })
	g.admin.Mount(g.pages)
	return nil
}

// consoleURL is where browsers find the console.
func (g *gateway) consoleURL() string {
	if u := g.cfg.Admin.Console.URL; u != "" {
		return strings.TrimSuffix(u, "/")
	}
	scheme := "http"
	if g.cfg.Admin.TLS.Enabled() {
		scheme = "https"
	}
	return scheme + "://" + g.adminListener.Addr().String()
}

// cookieKey returns the key that seals cookies.
func cookieKey(cfg *config.Config) ([]byte, error) {
	if k := cfg.Admin.Console.CookieKey; k.IsSet() {
		return []byte(k.Reveal()), nil
	}
	name := filepath.Join(cfg.State.Dir, "keys", "console.key")
	if err := makeKey(name, newMaskKey); err != nil {
		return nil, fmt.Errorf("make the key of cookies: %w", err)
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the key of cookies: %w", err)
	}
	return []byte(strings.TrimSpace(string(raw))), nil
}

// signInTimeout bounds one request to the issuer.
const signInTimeout = 15 * time.Second

func signIn(cfg *config.Config) (web.SignIn, error) {
	c := cfg.Admin.Console
	out := web.SignIn{
		Name: c.Issuer, ClientID: c.ClientID, ClientSecret: c.ClientSecret.Reveal(), Scopes: c.Scopes, Audience: c.Audience,
		IDToken: c.Token == "id",
	}
	transport, _ := http.DefaultTransport.(*http.Transport)
	transport = transport.Clone()
	for _, is := range cfg.Identity.Issuers {
		if is.Name != c.Issuer {
			continue
		}
		out.Issuer = is.URL
		if is.CAFile != "" {
			pem, err := os.ReadFile(is.CAFile)
			if err != nil {
				return out, fmt.Errorf("the issuer's ca_file: %w", err)
			}
			roots := x509.NewCertPool()
			if !roots.AppendCertsFromPEM(pem) {
				return out, fmt.Errorf("the issuer's ca_file: %s has no certificate", is.CAFile)
			}
			transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
		}
	}
	out.Client = &http.Client{Transport: transport, Timeout: signInTimeout, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if via[0].Method != http.MethodGet || len(via) >= 3 {
			return http.ErrUseLastResponse // a request with a secret goes nowhere else
		}
		return nil
	}}
	return out, nil
}

// recordings opens what this gateway archives for reading; nil: it has none.
func (g *gateway) recordings(ctx context.Context) (*web.Recordings, error) {
	if g.recorder == nil {
		return nil, nil
	}
	index, err := record.ReadIndex(g.cfg.Record.Index.Path)
	if err != nil {
		return nil, err
	}
	g.onClose("console's index", func(context.Context) error { return index.Close() })
	bucket, err := openBucket(ctx, g.cfg.Record.Archive.URL)
	if err != nil {
		return nil, err
	}
	g.onClose("console's archive", func(context.Context) error { return bucket.Close() })
	key, err := receiptKey(g.cfg)
	if err != nil {
		return nil, err
	}
	public, _ := key.Public().(ed25519.PublicKey)
	return &web.Recordings{
		Index: index, Archive: record.OpenArchive(bucket, filepath.Join(g.cfg.State.Dir, "spool")), Key: public,
		Tables:   map[string]func([]byte) ([]web.Table, error){replay.Backend: postgresTables},
		Terminal: consoleTerminal(),
	}, nil
}

// postgresTables decodes the recorded messages of PostgreSQL.
func postgresTables(data []byte) ([]web.Table, error) {
	results, err := replay.Decode(data)
	out := make([]web.Table, 0, len(results))
	for _, r := range results {
		t := web.Table{Rows: r.Rows, Text: r.Copy, Tag: r.Tag}
		if len(r.CopyBinary) > 0 {
			t.Text = fmt.Sprintf("%s in binary format", byteSize(int64(len(r.CopyBinary))))
		}
		for _, c := range r.Columns {
			t.Columns = append(t.Columns, c.Name)
		}
		for _, n := range r.Notices {
			t.Notices = append(t.Notices, n.Severity+": "+n.Message)
		}
		if r.Error != nil {
			t.Error = strings.TrimSpace(r.Error.Severity + " " + r.Error.Code + ": " + r.Error.Message)
		}
		out = append(out, t)
	}
	return out, err
}

func (g *gateway) consoleLive() []web.Live {
	list := g.gate.Live()
	out := make([]web.Live, len(list))
	for i, l := range list {
		out[i] = web.Live{
			ID: l.ID, Subject: l.Subject, Actor: l.Actor, Issuer: l.Issuer, Target: l.Target, Protocol: l.Protocol, Address: l.Address,
			StartedAt: l.StartedAt, ExpiresAt: l.ExpiresAt, Requests: l.Requests, Denials: l.Denials, Rows: l.Rows,
		}
	}
	return out
}

func (g *gateway) consoleStatus() web.Status {
	s := g.gatewayStatus()
	out := web.Status{
		Version: s.Build.Version, StartedAt: s.StartedAt, Mode: s.Record.Mode, Journal: s.Record.Journal, Recorder: s.Record.Recorder,
	}
	for _, l := range s.Listeners {
		out.Listeners = append(out.Listeners, web.Listener(l))
	}
	for _, t := range s.Targets {
		out.Targets = append(out.Targets, web.Target(t))
	}
	return out
}
