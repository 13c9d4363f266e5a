package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

// peer is one way to the database.
type peer struct {
	name     string
	port     int
	user     string
	password string
	database string
	pid      int // of the proxy, 0 for none
}

type servers struct {
	cluster *pgtest.Cluster
	peers   []peer // direct, pgbouncer, regate
	procs   []*exec.Cmd
	dir     string
	admin   int
}

func (s *servers) stop() {
	for i := len(s.procs) - 1; i >= 0; i-- {
		p := s.procs[i]
		_ = p.Process.Signal(syscall.SIGTERM)
		done := make(chan struct{})
		go func() { _ = p.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(15 * time.Second):
			_ = p.Process.Kill()
			<-done
		}
	}
	if s.cluster != nil {
		_ = s.cluster.Stop()
	}
}

func startAll(ctx context.Context, o options) (_ *servers, err error) {
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return nil, err
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	s := &servers{dir: dir}
	s.cluster, err = pgtest.Start(ctx, pgtest.Options{Settings: map[string]string{
		"max_connections": "700", "shared_buffers": "512MB", "fsync": "off", "synchronous_commit": "off", "max_wal_size": "4GB",
	}})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	for _, sql := range []string{"CREATE DATABASE bench"} {
		if err := s.cluster.Exec(ctx, "postgres", sql); err != nil {
			return nil, err
		}
	}
	direct := peer{name: "direct", port: s.cluster.Port, user: pgtest.Superuser, password: s.cluster.Password, database: "bench"}
	if out, err := s.pgbench(ctx, direct, "-i", "-q", "-s", fmt.Sprint(o.scale)); err != nil {
		return nil, fmt.Errorf("pgbench -i: %w\n%s", err, out)
	}
	large := fmt.Sprintf(`CREATE TABLE large AS SELECT i AS id, 'name ' || i AS name, 'user' || i || '@example.com' AS email,
	 md5(i::text) AS hash, i * 1.5 AS amount, now() AS at FROM generate_series(1, %d) i; VACUUM ANALYZE large`, o.rows)
	for _, sql := range strings.Split(large, ";") {
		if err := s.cluster.Exec(ctx, "bench", sql); err != nil {
			return nil, err
		}
	}
	bouncer, err := s.startBouncer(ctx)
	if err != nil {
		return nil, err
	}
	gateway, err := s.startGateway(ctx, o)
	if err != nil {
		return nil, err
	}
	s.peers = []peer{direct, bouncer, gateway}
	return s, nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (s *servers) launch(name string, args ...string) (*exec.Cmd, error) {
	log, err := os.Create(filepath.Join(s.dir, filepath.Base(name)+"-"+args[0]+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s.procs = append(s.procs, cmd)
	return cmd, nil
}

func await(ctx context.Context, what string, try func() error) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := try()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s did not come up: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func dialable(port int) func() error {
	return func() error {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = c.Close()
		}
		return err
	}
}

func (s *servers) startBouncer(ctx context.Context) (peer, error) {
	port, err := freePort()
	if err != nil {
		return peer{}, err
	}
	dir, err := os.MkdirTemp("", "regate-bouncer-")
	if err != nil {
		return peer{}, err
	}
	users := fmt.Sprintf("%q %q\n", pgtest.Superuser, s.cluster.Password)
	config := fmt.Sprintf(`[databases]
bench = host=127.0.0.1 port=%d dbname=bench user=%s password=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = plain
auth_file = %s/users.txt
pool_mode = session
max_client_conn = 1000
default_pool_size = 600
logfile = %s/pgbouncer.log
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
`, s.cluster.Port, pgtest.Superuser, s.cluster.Password, port, dir, dir)
	for name, text := range map[string]string{"users.txt": users, "pgbouncer.ini": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return peer{}, err
		}
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		return peer{}, err
	}
	args := []string{"-q", filepath.Join(dir, "pgbouncer.ini")}
	if os.Geteuid() == 0 {
		args = append([]string{"-u", "postgres"}, args...)
	}
	cmd, err := s.launch("pgbouncer", args...)
	if err != nil {
		return peer{}, err
	}
	if err := await(ctx, "pgbouncer", dialable(port)); err != nil {
		return peer{}, err
	}
	return peer{name: "pgbouncer", port: port, user: pgtest.Superuser, password: s.cluster.Password, database: "bench", pid: cmd.Process.Pid}, nil
}

const gatewayConfig = `
log: {level: warn}
admin: {address: 127.0.0.1:%[1]d}
state: {dir: %[2]s/state}
record: {mode: strict, journal: {max_bytes: 8GiB}}
identity:
  issuers:
    - {name: dev, url: "http://127.0.0.1:%[3]d", audiences: [regate], insecure_http: true}
policy:
  bundles:
    - {name: bench, paths: [%[4]s]}
postgres:
  listeners:
    - {address: "127.0.0.1:%[5]d"}
targets:
  - name: bench
    address: 127.0.0.1:%[6]d
    database: bench
    labels: {env: bench}
    user: %[7]s
    password: file:%[2]s/password
    tls: {mode: disable}
    limits: {max_connections: 1000}
`

func (s *servers) startGateway(ctx context.Context, o options) (peer, error) {
	var ports [3]int
	for i := range ports {
		p, err := freePort()
		if err != nil {
			return peer{}, err
		}
		ports[i] = p
	}
	admin, issuer, front := ports[0], ports[1], ports[2]
	s.admin = admin
	if err := os.WriteFile(filepath.Join(s.dir, "password"), []byte(s.cluster.Password), 0o600); err != nil {
		return peer{}, err
	}
	var paths []string
	for _, p := range strings.Split(o.bundle, ",") {
		p, err := filepath.Abs(p)
		if err != nil {
			return peer{}, err
		}
		paths = append(paths, p)
	}
	config := fmt.Sprintf(gatewayConfig, admin, s.dir, issuer, strings.Join(paths, ", "), front, s.cluster.Port, pgtest.Superuser)
	path := filepath.Join(s.dir, "regate.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return peer{}, err
	}
	regate, err := filepath.Abs(o.regate)
	if err != nil {
		return peer{}, err
	}
	if _, err := s.launch(regate, "dev-issuer", "--listen", fmt.Sprintf("127.0.0.1:%d", issuer), "--client", "bench:bench-secret:bench"); err != nil {
		return peer{}, err
	}
	if err := await(ctx, "the issuer", dialable(issuer)); err != nil {
		return peer{}, err
	}
	args := []string{"serve", "-c", path}
	if o.profile != "" {
		args = append(args, "--cpu-profile", o.profile)
	}
	cmd, err := s.launch(regate, args...)
	if err != nil {
		return peer{}, err
	}
	ready := func() error {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", admin))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			body, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
			return errors.New(string(body))
		}
		return nil
	}
	if err := await(ctx, "regate", ready); err != nil {
		return peer{}, err
	}
	var out, stderr bytes.Buffer
	token := exec.CommandContext(ctx, regate, "token", "--issuer", fmt.Sprintf("http://127.0.0.1:%d", issuer),
		"--client-id", "bench", "--client-secret", "env:BENCH_SECRET", "--audience", "regate")
	token.Env = append(os.Environ(), "BENCH_SECRET=bench-secret", "XDG_CACHE_HOME="+s.dir)
	token.Stdout, token.Stderr = &out, &stderr
	if err := token.Run(); err != nil {
		return peer{}, fmt.Errorf("regate token: %w: %s", err, stderr.String())
	}
	return peer{name: "regate", port: front, user: "bench", password: strings.TrimSpace(out.String()), database: "bench", pid: cmd.Process.Pid}, nil
}
