package upstream

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/regate-dev/regate/proxies/postgres/handshake"
)

// Direct TLS, which the installed server may be too old for, against regate's
// own front: a gateway behind a gateway.
func TestDirectTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	front := &handshake.Front{TLS: func() *tls.Config { return config }}
	for _, direct := range []bool{false, true} {
		got := make(chan string, 1)
		reached := fake(t, func(conn net.Conn) {
			c, err := front.Accept(context.Background(), conn)
			if err != nil {
				got <- err.Error()
				return
			}
			token, err := c.Token(context.Background())
			if err != nil {
				got <- err.Error()
				return
			}
			_ = c.Welcome(nil, 1, []byte("keys"), 'I')
			got <- token + " " + c.SNI
			_, _ = c.Conn.Read(make([]byte, 1))
		})
		_, port, _ := net.SplitHostPort(reached)
		c, err := Dial(timeout(t), Target{Address: "localhost:" + port, Database: "x", User: "x", Password: secret("token"),
			TLS: &tls.Config{RootCAs: roots}, DirectTLS: direct, Auth: []Auth{AuthPassword}}, "", nil)
		if err != nil {
			t.Fatalf("direct %v: %v (%s)", direct, err, <-got)
		}
		if text := <-got; text != "token localhost" || string(c.Secret) != "keys" {
			t.Fatalf("got %s, %+v", text, c)
		}
		_ = c.Close()
	}
}
