package handshake

import (
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// dialSerial connects and returns the serial number of the certificate shown.
func dialSerial(t *testing.T, a *authority, s *server) int64 {
	t.Helper()
	conn, err := tls.Dial("tcp", s.addr(), &tls.Config{RootCAs: a.pool, ServerName: "localhost", NextProtos: []string{alpn}})
	must(t, err)
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

func TestReloader(t *testing.T) {
	a := newAuthority(t)
	cert, key := filepath.Join(a.dir, "tls.crt"), filepath.Join(a.dir, "tls.key")
	a.issue(t, cert, key, 10)
	clock := time.Now()
	var told []error
	r, err := newReloader(cert, key, func(err error) { told = append(told, err) }, func() time.Time { return clock })
	must(t, err)
	s := serve(t, tlsFront(r))
	expect := func(serial int64, reports int, healthy bool) {
		t.Helper()
		if got := dialSerial(t, a, s); got != serial {
			t.Fatalf("certificate %d, want %d", got, serial)
		}
		expires, err := r.Status()
		if (err == nil) != healthy || expires.Before(time.Now()) {
			t.Fatalf("status %v, %v", expires, err)
		}
		if len(told) != reports {
			t.Fatalf("%d reports, want %d: %v", len(told), reports, told)
		}
	}
	expect(10, 0, true)

	// New files are not looked at before their time, and then are.
	a.issue(t, cert, key, 11)
	expect(10, 0, true)
	clock = clock.Add(2 * time.Second)
	expect(11, 1, true)

	// Half a change: the certificate is new, the key is not.
	a.issue(t, cert, filepath.Join(a.dir, "new.key"), 12)
	clock = clock.Add(2 * time.Second)
	expect(11, 2, false)
	clock = clock.Add(2 * time.Second)
	expect(11, 2, false) // told once
	must(t, os.Rename(filepath.Join(a.dir, "new.key"), key))
	clock = clock.Add(2 * time.Second)
	expect(12, 3, true)
	if told[2] != nil {
		t.Fatalf("told %v", told[2])
	}

	// Rubbish, then nothing at all, then the same pair as before.
	good, err := os.ReadFile(cert)
	must(t, err)
	must(t, os.WriteFile(cert, []byte("rubbish"), 0o600))
	clock = clock.Add(2 * time.Second)
	expect(12, 4, false)
	must(t, os.Remove(cert))
	clock = clock.Add(2 * time.Second)
	expect(12, 5, false)
	if !errors.Is(told[4], os.ErrNotExist) {
		t.Fatalf("told %v", told[4])
	}
	must(t, os.WriteFile(cert, good, 0o600))
	clock = clock.Add(2 * time.Second)
	expect(12, 6, true)

	// Away and back again: the very files that are in use.
	must(t, os.Rename(cert, cert+".away"))
	clock = clock.Add(2 * time.Second)
	expect(12, 7, false)
	must(t, os.Rename(cert+".away", cert))
	clock = clock.Add(2 * time.Second)
	expect(12, 8, true)

	if _, err := NewReloader(cert, filepath.Join(a.dir, "ca.crt"), nil); err == nil {
		t.Fatal("a reloader without a usable pair")
	}
	if _, err := NewReloader(filepath.Join(a.dir, "none"), key, nil); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
}

// A mounted Kubernetes secret changes by turning a symbolic link.
func TestReloaderFollowsLinks(t *testing.T) {
	a := newAuthority(t)
	for i, name := range []string{"one", "two"} {
		must(t, os.Mkdir(filepath.Join(a.dir, name), 0o700))
		a.issue(t, filepath.Join(a.dir, name, "tls.crt"), filepath.Join(a.dir, name, "tls.key"), int64(20+i))
	}
	link := filepath.Join(a.dir, "..data")
	must(t, os.Symlink("one", link))
	clock := time.Now()
	r, err := newReloader(filepath.Join(link, "tls.crt"), filepath.Join(link, "tls.key"), nil, func() time.Time { return clock })
	must(t, err)
	s := serve(t, tlsFront(r))
	if got := dialSerial(t, a, s); got != 20 {
		t.Fatalf("certificate %d", got)
	}
	must(t, os.Symlink("two", link+"_tmp"))
	must(t, os.Rename(link+"_tmp", link))
	clock = clock.Add(2 * time.Second)
	if got := dialSerial(t, a, s); got != 21 {
		t.Fatalf("certificate %d", got)
	}
}

// The parts that the protocol fixes hold whatever the configuration says.
func TestFixed(t *testing.T) {
	loose := &tls.Config{MinVersion: tls.VersionTLS10, NextProtos: []string{"h2"}}
	loose.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{MinVersion: tls.VersionTLS10, NextProtos: []string{"h2"}}, nil
	}
	for config := fixed(loose); config != nil; {
		if config.MinVersion != tls.VersionTLS12 || len(config.NextProtos) != 1 || config.NextProtos[0] != alpn {
			t.Fatalf("%+v", config)
		}
		if config.GetConfigForClient == nil {
			break
		}
		var err error
		config, err = config.GetConfigForClient(nil)
		must(t, err)
	}
	if fixed(nil) != nil {
		t.Fatal("a configuration out of nothing")
	}
}
