package upstream

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"go.uber.org/goleak"

	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

// The cluster of all tests: one user for each way to log in, all with the
// password "sesame 7".
var (
	cluster *pgtest.Cluster
	pool    *x509.CertPool  // of the server's certificate
	badge   tls.Certificate // of the user by_cert
)

const password = "sesame 7"

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "regate-upstream-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // for the server's user
		return 0, err
	}
	ca := filepath.Join(dir, "clients.crt")
	if badge, err = makeBadge(ca, "by_cert"); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cluster, err = pgtest.Start(ctx, pgtest.Options{TLS: true,
		Settings: map[string]string{"fsync": "off", "ssl_ca_file": ca},
		HBA: []string{
			"local all by_trust trust",
			"host all by_trust 127.0.0.1/32 trust",
			"host all by_md5 127.0.0.1/32 md5",
			"host all by_password 127.0.0.1/32 password",
			"hostssl all by_cert 127.0.0.1/32 cert",
			"hostssl all by_both 127.0.0.1/32 scram-sha-256 clientcert=verify-ca",
			"host all rejected 127.0.0.1/32 reject",
		}})
	if err != nil {
		return 0, err
	}
	defer cluster.Stop()
	pem, err := os.ReadFile(cluster.CAFile)
	if err != nil {
		return 0, err
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	var sql strings.Builder
	for _, user := range []string{"by_scram", "by_trust", "by_password", "by_cert", "by_both", "rejected", "full"} {
		fmt.Fprintf(&sql, "CREATE ROLE %s LOGIN PASSWORD '%s';\n", user, password)
	}
	sql.WriteString("SET password_encryption = 'md5'; CREATE ROLE by_md5 LOGIN PASSWORD '" + password + "';\n" +
		"CREATE ROLE agents; GRANT agents TO by_scram; CREATE ROLE strangers; ALTER ROLE full CONNECTION LIMIT 0;\n")
	if err := cluster.Exec(ctx, "postgres", sql.String()); err != nil {
		return 0, err
	}
	before := goleak.IgnoreCurrent()
	if code = m.Run(); code == 0 {
		// The shared cluster ends with the process.
		if err := goleak.Find(before, goleak.IgnoreAnyFunction("github.com/regate-dev/regate/proxies/postgres/pgtest.startProcess.func1")); err != nil {
			return 1, err
		}
	}
	return code, nil
}

// makeBadge writes a CA's certificate and returns a client certificate of it.
func makeBadge(caFile, user string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "clients"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return tls.Certificate{}, err
	}
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	der, err = x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: user},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, ca, &own.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: own}, err
}

func address() string { return net.JoinHostPort("localhost", strconv.Itoa(cluster.Port)) }

// target is a target of the cluster with the password, over TLS.
func target(user string) Target {
	return Target{Address: address(), Database: "postgres", User: user, Password: secret(password), TLS: &tls.Config{RootCAs: pool}}
}

func secret(s string) func() (string, error) { return func() (string, error) { return s, nil } }

func timeout(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func dial(t *testing.T, target Target, role string, params map[string]string) *Conn {
	t.Helper()
	c, err := Dial(timeout(t), target, role, params)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// query runs SQL by the simple protocol and returns the last row's values
// joined by "|".
func query(t *testing.T, c *Conn, sql string) (string, error) {
	t.Helper()
	f := pgproto3.NewFrontend(io.MultiReader(bytes.NewReader(c.Buffered), c.Conn), c.Conn)
	c.Buffered = nil
	f.Send(&pgproto3.Query{String: sql})
	if err := f.Flush(); err != nil {
		return "", err
	}
	var out string
	var failed error
	for {
		m, err := f.Receive()
		if err != nil {
			return "", err
		}
		switch m := m.(type) {
		case *pgproto3.DataRow:
			out = string(bytes.Join(m.Values, []byte("|")))
		case *pgproto3.ErrorResponse:
			failed = pgconn.ErrorResponseToPgError(m)
		case *pgproto3.ReadyForQuery:
			return out, failed
		}
	}
}
