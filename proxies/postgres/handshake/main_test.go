package handshake

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const goodToken = "eyJhbGciOiJub25lIn0.e30.c2ln"

// authority is a CA that signs server certificates for localhost.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
	file string
	dir  string
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	a := &authority{cert: cert, key: key, pool: x509.NewCertPool(), dir: t.TempDir()}
	a.pool.AddCert(cert)
	a.file = filepath.Join(a.dir, "ca.crt")
	writePEM(t, a.file, "CERTIFICATE", der)
	return a
}

// issue writes a certificate and its key, and returns it with its serial.
func (a *authority) issue(t testing.TB, certFile, keyFile string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost", "orders.localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, a.cert, &key.PublicKey, a.key)
	must(t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	must(t, err)
	writePEM(t, certFile, "CERTIFICATE", der)
	writePEM(t, keyFile, "EC PRIVATE KEY", keyDER)
}

func (a *authority) reloader(t testing.TB) *Reloader {
	t.Helper()
	cert, key := filepath.Join(a.dir, "server.crt"), filepath.Join(a.dir, "server.key")
	a.issue(t, cert, key, 2)
	r, err := NewReloader(cert, key, nil)
	must(t, err)
	return r
}

func writePEM(t testing.TB, name, kind string, der []byte) {
	t.Helper()
	must(t, os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

// server accepts clients as the gateway does: Accept, Token, then Welcome when
// the token is the good one; it answers each simple query with the number 1.
type server struct {
	front  *Front
	listen net.Listener

	mu       sync.Mutex
	clients  []*Client
	failures []*Error
	tokens   []string
	ended    chan struct{} // one for each connection
}

var testKey = []byte("0123456789abcdef0123456789abcdef")

func serve(t testing.TB, front *Front) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s := &server{front: front, listen: l, ended: make(chan struct{}, 1000)}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
				defer stop()
				s.one(ctx, conn)
				s.ended <- struct{}{}
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		running.Wait()
	})
	return s
}

func (s *server) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Reason: "not-an-Error", Cause: err}
	}
	s.failures = append(s.failures, e)
}

func (s *server) one(ctx context.Context, conn net.Conn) {
	c, err := s.front.Accept(ctx, conn)
	if err != nil {
		s.fail(err)
		return
	}
	s.mu.Lock()
	s.clients = append(s.clients, c)
	s.mu.Unlock()
	if c.Cancel != nil {
		return
	}
	token, err := c.Token(ctx)
	if err != nil {
		s.fail(err)
		return
	}
	s.mu.Lock()
	s.tokens = append(s.tokens, token)
	s.mu.Unlock()
	if token != goodToken {
		c.Refuse(&Error{Code: codeInvalidPassword, Reason: "identity/expired", Message: "the token has expired", Hint: "Get a new token."})
		return
	}
	if err := c.Welcome(map[string]string{"server_version": "15.18", "client_encoding": "UTF8", "standard_conforming_strings": "on"}, 77, testKey[:c.SecretSize()], 'I'); err != nil {
		s.fail(err)
		return
	}
	backend := pgproto3.NewBackend(c.Conn, c.Conn)
	for {
		msg, err := backend.Receive()
		if err != nil {
			return
		}
		switch msg.(type) {
		case *pgproto3.Query:
			backend.Send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("n"), DataTypeOID: 23, DataTypeSize: 4, TypeModifier: -1}}})
			backend.Send(&pgproto3.DataRow{Values: [][]byte{[]byte("1")}})
			backend.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
			backend.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
			if backend.Flush() != nil {
				return
			}
		case *pgproto3.Terminate:
			return
		}
	}
}

// wait waits for n connections to have ended.
func (s *server) wait(t testing.TB, n int) {
	t.Helper()
	for range n {
		select {
		case <-s.ended:
		case <-time.After(time.Minute):
			t.Fatal("a connection did not end")
		}
	}
}

func (s *server) last(t testing.TB) *Client {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.clients) == 0 {
		t.Fatalf("no client got through; failures: %v", s.failures)
	}
	return s.clients[len(s.clients)-1]
}

// failure returns the reason of the last failure, "" when there is none.
func (s *server) failure() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.failures) == 0 {
		return ""
	}
	return s.failures[len(s.failures)-1].Reason
}

func (s *server) addr() string { return s.listen.Addr().String() }

func (s *server) port() string {
	_, port, _ := net.SplitHostPort(s.addr())
	return port
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func tlsFront(r *Reloader) *Front { return &Front{TLS: func() *tls.Config { return r.Config() }} }
