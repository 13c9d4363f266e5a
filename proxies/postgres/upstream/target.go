package upstream

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// DefaultConnectTimeout bounds a login when Target.ConnectTimeout is 0.
const DefaultConnectTimeout = 10 * time.Second

// Auth is a way for the gateway to show the server who it is.
type Auth string

// The ways to authenticate, from the strongest to none.
const (
	AuthSCRAMPlus   Auth = "scram-sha-256-plus" // bound to the TLS channel
	AuthSCRAM       Auth = "scram-sha-256"      // bound to it where the server offers that
	AuthCertificate Auth = "cert"               // the client certificate of TLS
	AuthMD5         Auth = "md5"
	AuthPassword    Auth = "password" // in the clear inside TLS; never without TLS
	AuthTrust       Auth = "trust"    // the server asks for nothing
)

// Target is how to log in to one server. It is read-only once in use.
type Target struct {
	Address  string // host:port, or the path of a Unix socket: /dir/.s.PGSQL.5432
	Database string
	User     string
	// Password returns the password, for each login anew; nil: there is none.
	Password func() (string, error)
	// TLS is the configuration to verify the server with, nil is plaintext.
	// InsecureSkipVerify is refused. ServerName defaults to the host.
	TLS *tls.Config
	// DirectTLS begins with TLS and no SSLRequest: PostgreSQL 17 and newer.
	DirectTLS bool
	// Auth lists what is allowed. Empty: SCRAM-SHA-256 (with channel binding
	// where the server offers it) when there is a password, else the client
	// certificate of TLS. Everything weaker must be listed.
	Auth []Auth
	// Settings are set at login. They win over the agent's.
	Settings map[string]string
	// ConnectTimeout bounds the login from dial to ReadyForQuery.
	// 0: DefaultConnectTimeout.
	ConnectTimeout time.Duration
}

// Check reports what makes every login to the target impossible.
func (t Target) Check() error {
	_, err := t.plan()
	return err
}

// plan is a checked target in pgconn's terms.
type plan struct {
	host           string
	port           uint16
	tls            *tls.Config
	requireAuth    string
	channelBinding string
	certificate    string // sslcertmode
	timeout        time.Duration
}

func (t Target) plan() (plan, error) {
	p := plan{timeout: t.ConnectTimeout}
	if p.timeout <= 0 {
		p.timeout = DefaultConnectTimeout
	}
	var err error
	if p.host, p.port, err = splitAddress(t.Address); err != nil {
		return plan{}, err
	}
	if t.User == "" {
		return plan{}, errors.New("target has no user")
	}
	if t.Database == "" {
		return plan{}, errors.New("target has no database")
	}
	if strings.HasPrefix(p.host, "/") && t.TLS != nil {
		return plan{}, errors.New("PostgreSQL has no TLS on a Unix socket")
	}
	if t.DirectTLS && t.TLS == nil {
		return plan{}, errors.New("direct TLS needs a TLS configuration")
	}
	if p.tls, err = verified(t.TLS, p.host); err != nil {
		return plan{}, err
	}
	if err := t.authenticate(&p); err != nil {
		return plan{}, err
	}
	for name, value := range t.Settings {
		if err := checkSetting(name, value); err != nil {
			return plan{}, fmt.Errorf("settings: %w", err)
		}
	}
	return p, nil
}

// verified returns the TLS configuration with what verify-full needs.
func verified(config *tls.Config, host string) (*tls.Config, error) {
	if config == nil {
		return nil, nil
	}
	if config.InsecureSkipVerify {
		return nil, errors.New("a TLS configuration that does not verify the server is refused")
	}
	config = config.Clone()
	if config.ServerName == "" {
		config.ServerName = host
	}
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	config.NextProtos = []string{"postgresql"}
	return config, nil
}

// authenticate turns the allowed ways into pgconn's settings.
func (t Target) authenticate(p *plan) error {
	certified := t.TLS != nil && (len(t.TLS.Certificates) > 0 || t.TLS.GetClientCertificate != nil)
	allowed := t.Auth
	if len(allowed) == 0 {
		switch {
		case t.Password != nil:
			allowed = []Auth{AuthSCRAM}
		case certified:
			allowed = []Auth{AuthCertificate}
		default:
			return errors.New("target has neither a password nor a client certificate: list trust in its auth if that is meant")
		}
	}
	is := map[Auth]bool{}
	var methods []string
	for _, a := range allowed {
		if is[a] {
			continue
		}
		is[a] = true
		switch a {
		case AuthSCRAMPlus, AuthSCRAM:
			methods = append(methods, "scram-sha-256")
		case AuthMD5:
			methods = append(methods, "md5")
		case AuthPassword:
			if t.TLS == nil {
				return errors.New("auth password would send the password in the clear without TLS")
			}
			methods = append(methods, "password")
		case AuthCertificate:
			if !certified {
				return errors.New("auth cert needs a client certificate")
			}
			methods = append(methods, "none")
		case AuthTrust:
			methods = append(methods, "none")
		default:
			return fmt.Errorf("unknown auth %q", string(a))
		}
		if t.Password == nil && (a == AuthSCRAMPlus || a == AuthSCRAM || a == AuthMD5 || a == AuthPassword) {
			return fmt.Errorf("auth %s needs a password", a)
		}
		if t.TLS == nil && a == AuthSCRAMPlus {
			return fmt.Errorf("auth %s needs TLS", a)
		}
	}
	p.requireAuth = strings.Join(dedupe(methods), ",")
	p.channelBinding, p.certificate = "prefer", "allow"
	if is[AuthSCRAMPlus] {
		// The demand cannot be put on one of several ways: a server that may
		// choose would choose the other one.
		if len(is) > 1 {
			return fmt.Errorf("auth %s stands alone: listed beside others it demands nothing", AuthSCRAMPlus)
		}
		p.channelBinding = "require"
	}
	if is[AuthCertificate] && !is[AuthTrust] && len(is) == 1 {
		p.certificate = "require"
	}
	return nil
}

func dedupe(in []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, s := range in {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}

// splitAddress splits host:port, or the path of a socket into its folder and
// the port that its name ends with.
func splitAddress(address string) (host string, port uint16, err error) {
	if strings.HasPrefix(address, "/") {
		dir, name := filepath.Split(address)
		text, ok := strings.CutPrefix(name, ".s.PGSQL.")
		n, err := strconv.ParseUint(text, 10, 16)
		if !ok || err != nil {
			return "", 0, fmt.Errorf("address %q is not a PostgreSQL socket: want /dir/.s.PGSQL.<port>", address)
		}
		return filepath.Clean(dir), uint16(n), nil
	}
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("address: %w", err)
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if host == "" || err != nil || n == 0 {
		return "", 0, fmt.Errorf("address %q is not host:port", address)
	}
	return host, uint16(n), nil
}
