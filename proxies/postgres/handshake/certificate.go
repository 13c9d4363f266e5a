package handshake

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// checkEvery bounds how often the files are looked at.
const checkEvery = time.Second

// Reloader serves a certificate from two PEM files and follows their changes:
// when a handshake finds them changed they are read again. A pair that does
// not load leaves the last good one in use. Symbolic links are followed, so a
// mounted Kubernetes secret works.
type Reloader struct {
	certFile, keyFile string
	report            func(error)
	now               func() time.Time

	config *tls.Config
	loaded atomic.Pointer[loadedPair]

	mu      sync.Mutex // guards what follows; held by the one who looks
	checked time.Time
	failed  stamps // the files that last failed to load
	err     error
}

type loadedPair struct {
	certificate *tls.Certificate
	stamps      stamps
}

// stamps tell versions of the two files apart without reading them. nil: a
// file is missing.
type stamps []os.FileInfo

func (s stamps) equal(other stamps) bool {
	return slices.EqualFunc(s, other, func(a, b os.FileInfo) bool {
		// A file put in place of another may have the same size and time.
		return a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && os.SameFile(a, b)
	})
}

// NewReloader loads the pair; an error says that it cannot be used. report,
// which may be nil, is told once of each change that does not load, and with
// nil of each that does.
func NewReloader(certFile, keyFile string, report func(error)) (*Reloader, error) {
	return newReloader(certFile, keyFile, report, time.Now)
}

func newReloader(certFile, keyFile string, report func(error), now func() time.Time) (*Reloader, error) {
	if report == nil {
		report = func(error) {}
	}
	r := &Reloader{certFile: certFile, keyFile: keyFile, report: report, now: now}
	found, err := r.look()
	if err != nil {
		return nil, err
	}
	pair, err := r.load(found)
	if err != nil {
		return nil, err
	}
	r.loaded.Store(pair)
	r.checked = now()
	r.config = &tls.Config{
		GetCertificate: r.GetCertificate,
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{alpn},
	}
	return r, nil
}

// Config returns a configuration for Front.TLS.
func (r *Reloader) Config() *tls.Config { return r.config }

// GetCertificate is for tls.Config. It never fails.
func (r *Reloader) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	r.check()
	return r.loaded.Load().certificate, nil
}

// Status returns when the certificate in use expires, and why the files on
// disk are not in use, nil when they are.
func (r *Reloader) Status() (expires time.Time, err error) {
	r.check()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.loaded.Load().certificate.Leaf.NotAfter, r.err
}

// check loads the files when they have changed. A handshake that finds
// another one looking does not wait for it.
func (r *Reloader) check() {
	if !r.mu.TryLock() {
		return
	}
	defer r.mu.Unlock()
	now := r.now()
	if now.Sub(r.checked) < checkEvery {
		return
	}
	r.checked = now
	found, err := r.look()
	if err == nil && found.equal(r.loaded.Load().stamps) {
		if r.err != nil {
			r.err = nil
			r.report(nil)
		}
		return
	}
	var pair *loadedPair
	if err == nil {
		pair, err = r.load(found)
	}
	if err != nil {
		told := r.err != nil && r.failed.equal(found) && r.err.Error() == err.Error()
		r.err, r.failed = err, found
		if !told {
			r.report(err)
		}
		return
	}
	r.err = nil
	r.loaded.Store(pair)
	r.report(nil)
}

func (r *Reloader) look() (stamps, error) {
	var found stamps
	for _, name := range []string{r.certFile, r.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("load certificate: %w", err)
		}
		found = append(found, info)
	}
	return found, nil
}

// load reads the pair. The files may change between the two reads: then they
// do not match, which is an error, and the next look finds other stamps.
func (r *Reloader) load(found stamps) (*loadedPair, error) {
	certificate, err := tls.LoadX509KeyPair(r.certFile, r.keyFile)
	if err != nil {
		return nil, fmt.Errorf("load certificate %s: %w", r.certFile, err)
	}
	if certificate.Leaf == nil {
		return nil, fmt.Errorf("load certificate %s: %w", r.certFile, errors.New("no leaf certificate"))
	}
	return &loadedPair{&certificate, found}, nil
}
