package httpproxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"
	"golang.org/x/sync/singleflight"
)

// Lives of certificates.
const (
	leafLife  = 24 * time.Hour
	leafEarly = time.Hour // before now, for clocks that are behind
	maxLeaves = 4096
	// AuthorityLife is how long a new authority is good for.
	AuthorityLife = 2 * 365 * 24 * time.Hour
)

// Authority signs the certificates of hosts whose traffic is intercepted. It is
// safe for concurrent use.
type Authority struct {
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	leaf   *ecdsa.PrivateKey // one for all: it never leaves the process
	cache  *expirable.LRU[string, *tls.Certificate]
	flight singleflight.Group
}

// NewAuthority makes an authority, as PEM: its certificate and its private key.
func NewAuthority(name string, now time.Time) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := serialNumber()
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name, Organization: []string{"regate"}},
		NotBefore: now.Add(-leafEarly), NotAfter: now.Add(AuthorityLife),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, nil, err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), nil
}

func serialNumber() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}

// LoadAuthority reads what NewAuthority made.
func LoadAuthority(cert, key []byte) (*Authority, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("the authority: %w", err)
	}
	private, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	switch {
	case !ok:
		return nil, errors.New("the authority's key is not ECDSA")
	case !pair.Leaf.IsCA || pair.Leaf.KeyUsage&x509.KeyUsageCertSign == 0:
		return nil, errors.New("the authority's certificate is none of an authority")
	}
	leaf, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return &Authority{
		cert: pair.Leaf, key: private, leaf: leaf,
		cache: expirable.NewLRU[string, *tls.Certificate](maxLeaves, nil, leafLife/2),
	}, nil
}

// Expires is when the authority is no longer good.
func (a *Authority) Expires() time.Time { return a.cert.NotAfter }

// certificate returns one for a canonical host name or address.
func (a *Authority) certificate(host string) (*tls.Certificate, error) {
	if c, ok := a.cache.Get(host); ok {
		return c, nil
	}
	made, err, _ := a.flight.Do(host, func() (any, error) {
		if c, ok := a.cache.Get(host); ok {
			return c, nil
		}
		c, err := a.sign(host, time.Now())
		if err == nil {
			a.cache.Add(host, c)
		}
		return c, err
	})
	if err != nil {
		return nil, err
	}
	return made.(*tls.Certificate), nil
}

func (a *Authority) sign(host string, now time.Time) (*tls.Certificate, error) {
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	until := now.Add(leafLife)
	if until.After(a.cert.NotAfter) {
		until = a.cert.NotAfter
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Organization: []string{"regate"}}, NotBefore: now.Add(-leafEarly), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &a.leaf.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: a.leaf}, nil
}
