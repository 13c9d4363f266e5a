package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/regate-dev/regate/proxies/postgres/wire"
)

// maxLoginMessage bounds a message of the server during the login. The longest
// are error messages and ParameterStatus.
const maxLoginMessage = 1 << 20

// Dial logs in to the target as its user, sets role (empty: none) as the
// session's default role, and params, the agent's parameters, where the target
// does not set them itself.
//
// An error is always an *Error.
func Dial(ctx context.Context, t Target, role string, params map[string]string) (*Conn, error) {
	var at atomic.Int32
	config, dialer, timeout, err := t.config(role, params, &at)
	if err != nil {
		return nil, err
	}
	var frames *frameReader
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		frames = &frameReader{r: r}
		return pgproto3.NewFrontend(frames, w)
	}

	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	logged, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, classify(ctx, stage(at.Load()), err)
	}
	hijacked, err := logged.Hijack()
	if err != nil {
		return nil, classify(ctx, loggingIn, err)
	}
	conn, err := take(hijacked, frames, dialer)
	if err != nil {
		_ = hijacked.Conn.Close()
		return nil, classify(ctx, loggingIn, err)
	}
	return conn, nil
}

// config builds what pgconn needs, and nothing from the environment. The stage
// of a login is kept in at. The error is an *Error.
func (t Target) config(role string, params map[string]string, at *atomic.Int32) (*pgconn.Config, *net.Dialer, time.Duration, error) {
	p, err := t.plan()
	if err != nil {
		return nil, nil, 0, &Error{Reason: ReasonConfig, Cause: err}
	}
	settings, err := t.settings(role, params)
	if err != nil {
		return nil, nil, 0, &Error{Reason: ReasonConfig, Cause: err}
	}
	password, err := t.password()
	if err != nil {
		return nil, nil, 0, &Error{Reason: ReasonCredential, Cause: err}
	}
	config, err := pgconn.ParseConfig(isolated)
	if err != nil {
		return nil, nil, 0, &Error{Reason: ReasonConfig, Cause: fmt.Errorf("the environment holds PG… variables that cannot be read; unset them: %w", err)}
	}

	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3}}
	config.Host, config.Port = p.host, p.port
	config.Database, config.User, config.Password = t.Database, t.User, password
	config.TLSConfig, config.Fallbacks = p.tls, nil
	config.RuntimeParams = settings
	config.ConnectTimeout = 0 // ctx has it
	config.RequireAuth, config.ChannelBinding, config.SSLCertMode = p.requireAuth, p.channelBinding, p.certificate
	config.SSLNegotiation = "postgres"
	if t.DirectTLS {
		config.SSLNegotiation = "direct"
	}
	config.MinProtocolVersion, config.MaxProtocolVersion = "3.0", "3.0"
	config.KerberosSrvName, config.KerberosSpn = "", ""
	config.MaxProtocolMessageBodyLen = maxLoginMessage
	config.ValidateConnect, config.AfterConnect = nil, nil
	config.OnNotice, config.OnNotification = nil, nil
	// One attempt at one server: the dialer resolves the name, so that pgconn
	// does not log in to each of its addresses in turn.
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if err == nil && p.tls != nil {
			at.Store(int32(encrypting))
		} else if err == nil {
			at.Store(int32(loggingIn))
		}
		if err == nil {
			conn = wire.Socket(conn)
		}
		return conn, err
	}
	config.AfterNetConnect = func(ctx context.Context, _ *pgconn.Config, conn net.Conn) (net.Conn, error) {
		if secured, ok := conn.(*tls.Conn); ok {
			if err := secured.HandshakeContext(ctx); err != nil {
				return conn, err
			}
			if t.DirectTLS && secured.ConnectionState().NegotiatedProtocol != "postgresql" {
				return conn, errors.New("direct TLS: the server did not choose the protocol postgresql")
			}
		}
		at.Store(int32(loggingIn))
		return conn, nil
	}
	return config, dialer, p.timeout, nil
}

// isolated names everything that pgconn would otherwise take from the
// environment or the home folder. What it says is replaced by the target. The
// host is a folder so that no TLS files are looked for.
var isolated = strings.Join([]string{
	"host=/", "port=1", "user=x", "dbname=x", "password=x", "passfile=/dev/null",
	"sslmode=disable", "sslnegotiation=postgres", "sslcertmode=allow", "target_session_attrs=any",
	"connect_timeout=1", "min_protocol_version=3.0", "max_protocol_version=3.0",
	"channel_binding=prefer", "require_auth=none",
}, " ")

// take makes a Conn of what pgconn has logged in.
func take(hijacked *pgconn.HijackedConn, frames *frameReader, dialer *net.Dialer) (_ *Conn, err error) {
	if hijacked.TxStatus != 'I' {
		return nil, fmt.Errorf("the server is not idle after the login: %q", hijacked.TxStatus)
	}
	if n := hijacked.Frontend.ReadBufferLen(); n != 0 {
		return nil, fmt.Errorf("%d bytes were read past the login", n)
	}
	conn := &Conn{
		Conn:     hijacked.Conn,
		PID:      hijacked.PID,
		Secret:   slices.Clone(hijacked.SecretKey),
		Status:   maps.Clone(hijacked.ParameterStatuses),
		TxStatus: hijacked.TxStatus,
	}
	if conn.Buffered, err = frames.drain(conn.Conn); err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	// For Cancel: pgconn knows how to reach the same server in the same way.
	// It needs no buffers for that, and no password.
	hijacked.Config.DialFunc = dialer.DialContext
	hijacked.Config.Password = ""
	hijacked.Config.BuildFrontend = func(io.Reader, io.Writer) *pgproto3.Frontend { return nil }
	hijacked.Config.MaxProtocolMessageBodyLen = 0
	if conn.canceller, err = pgconn.Construct(hijacked); err != nil {
		return nil, err
	}
	return conn, nil
}

func (t Target) password() (string, error) {
	if t.Password == nil {
		return "", nil
	}
	password, err := t.Password()
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	if password == "" || strings.IndexByte(password, 0) >= 0 {
		return "", errors.New("read the password: it is empty or holds a zero byte")
	}
	return password, nil
}
