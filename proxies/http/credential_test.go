package httpproxy_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	httpproxy "github.com/regate-dev/regate/proxies/http"
)

// asAWS checks a request's signature as AWS does: from what has arrived.
func asAWS(t testing.TB, r *http.Request, service, secret, session string) (body []byte, ok bool) {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	must(t, err)
	_, rest, _ := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
	names, _, _ := strings.Cut(rest, ",")
	again, err := http.NewRequest(r.Method, "http://"+r.Host+r.RequestURI, bytes.NewReader(body))
	must(t, err)
	for name, values := range r.Header {
		if slices.Contains(strings.Split(names, ";"), strings.ToLower(name)) && name != "Content-Length" {
			again.Header[name] = values
		}
	}
	if !slices.Contains(strings.Split(names, ";"), "content-length") {
		again.ContentLength = 0
	}
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	if said := r.Header.Get("X-Amz-Content-Sha256"); said != "" {
		if said != hash && said != "UNSIGNED-PAYLOAD" {
			return body, false
		}
		hash = said
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	must(t, err)
	key := aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: secret, SessionToken: session}
	must(t, v4.NewSigner().SignHTTP(t.Context(), key, again, hash, service, "eu-central-1", at, func(o *v4.SignerOptions) { o.DisableURIPathEscaping = service == "s3" }))
	return body, again.Header.Get("Authorization") == r.Header.Get("Authorization")
}

func TestCredentialAWS(t *testing.T) {
	const secret, session = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "a-session-token-of-a-temporary-key"
	for _, service := range []string{"s3", "execute-api"} {
		up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
			body, ok := asAWS(t, r, service, secret, session)
			if !ok {
				http.Error(w, "SignatureDoesNotMatch "+r.Header.Get("Authorization"), http.StatusForbidden)
				return
			}
			_, _ = io.WriteString(w, r.RequestURI+" "+string(body)+"\n"+r.Header.Get("Authorization")+"\n"+r.Header.Get("X-Amz-Security-Token"))
		})
		g := start(t, allowAll, up.URL, func(c *httpproxy.Config) {
			c.Targets[0].Request.MaxBody = 1024
			c.Targets[0].Credential = &httpproxy.Credential{
				Secret: func() (string, error) { return secret, nil }, Path: "/bucket",
				AWS: &httpproxy.AWS{Service: service, Region: "eu-central-1", AccessKeyID: "AKIDEXAMPLE", SessionToken: func() (string, error) { return session, nil }},
			}
		})
		for _, c := range []struct{ method, path, body string }{
			{"GET", "/bucket/a%20b%2Bc/d?list-type=2&prefix=x%2Fy", ""},
			{"GET", "/bucket/%E4%BD%A0", ""},
			{"PUT", "/bucket/key", "the content"},
			{"POST", "/bucket/", `{"a": 1}`},
		} {
			got := g.do(g.token("alice"), c.method, c.path, c.body, "X-Amz-Date", "20200101T000000Z", "Content-Type", "application/json", "X-Amz-Meta-Who", "agent")
			if got.status != 200 || !strings.HasPrefix(got.body, c.path+" "+c.body+"\n") {
				t.Errorf("%s %s %s: %d %s", service, c.method, c.path, got.status, got.body)
			}
			if strings.Contains(got.body, session) || strings.Contains(got.body, "Signature=") {
				t.Errorf("the credential came back: %s", got.body)
			}
		}
		// What is too large to be read can be signed for S3 alone.
		large := strings.Repeat("x", 2048)
		got := g.do(g.token("alice"), "PUT", "/bucket/large", large, "Content-Type", "application/octet-stream")
		if service == "s3" && (got.status != 200 || !strings.Contains(got.body, large)) || service != "s3" && got.status != 413 && got.status != 403 {
			t.Errorf("%s: %d %.200s", service, got.status, got.body)
		}
		if got := g.do(g.token("alice"), "GET", "/other/", ""); got.problem(t)["reason"] != httpproxy.ReasonScope {
			t.Errorf("%d %s", got.status, got.body)
		}
	}
}

// clientPair is an authority and a client certificate of it.
func clientPair(t testing.TB, subject pkix.Name, change ...func(*x509.Certificate)) (*x509.CertPool, tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "clients"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	must(t, err)
	parent, err := x509.ParseCertificate(der)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(parent)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: subject, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, c := range change {
		c(leaf)
	}
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err = x509.CreateCertificate(rand.Reader, leaf, parent, &own.PublicKey, key)
	must(t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(own)
	must(t, err)
	pair, err := tls.X509KeyPair(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
	must(t, err)
	return pool, pair
}

// A client certificate is shown to the one origin that it is for.
func TestCredentialCertificate(t *testing.T) {
	pool, pair := clientPair(t, pkix.Name{CommonName: "gateway"})
	secure := func() (*httptest.Server, *x509.CertPool) {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			who := "nobody"
			if len(r.TLS.PeerCertificates) > 0 {
				who = r.TLS.PeerCertificates[0].Subject.CommonName
			}
			_, _ = io.WriteString(w, who+" "+r.Header.Get("Authorization"))
		}))
		s.EnableHTTP2 = true
		s.TLS = &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool}
		s.StartTLS()
		t.Cleanup(s.Close)
		trusted := x509.NewCertPool()
		trusted.AddCert(s.Certificate())
		return s, trusted
	}
	mine, trusted := secure()
	other, _ := secure()
	certificate := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	g := start(t, allowAll, mine.URL, func(c *httpproxy.Config) {
		conf := &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}
		c.Targets[0].TLS = conf
		c.Targets[0].Credential = &httpproxy.Credential{Certificate: certificate, Header: "Authorization", Prefix: "Key ", Secret: func() (string, error) { return "short", nil }}
		c.Forward.TLS = conf
		c.Forward.Egress.Ports = append(c.Forward.Egress.Ports, portOf(t, other.URL))
		c.Forward.Credentials = map[string]*httpproxy.Credential{mine.URL: {Certificate: certificate, Path: "/in"}}
	})
	if got := g.do(g.token("alice"), "GET", "/", ""); got.body != "gateway Key short" {
		t.Errorf("%d %s", got.status, got.body)
	}
	client := g.through(g.token("alice"))
	for url, want := range map[string]string{mine.URL + "/in/side": "gateway ", other.URL + "/in/side": "nobody ", mine.URL + "/out": "outside-credential"} {
		req, err := http.NewRequest("GET", url, nil)
		must(t, err)
		if got := send(t, client, req); !strings.Contains(got.body, want) {
			t.Errorf("%s: %d %s", url, got.status, got.body)
		}
	}
}
