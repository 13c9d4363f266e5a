package pgtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Superuser is the cluster's superuser.
const Superuser = "postgres"

// Options say what cluster to start. The zero value is a plain cluster in a
// temporary folder that is removed when the cluster stops.
type Options struct {
	// Dir is the cluster's folder; it is created, and reused when it already
	// holds a cluster of Start. It is kept by Stop. Where the server's user
	// cannot reach it, a temporary folder is used instead: see Cluster.Dir.
	Dir string
	// Settings are parameters of postgresql.conf.
	Settings map[string]string
	// TLS gives the server a certificate for localhost and 127.0.0.1, signed
	// by a CA made for it: see Cluster.CAFile.
	TLS bool
	// HBA are lines put before the defaults of pg_hba.conf, which ask for
	// SCRAM everywhere.
	HBA []string
}

// Cluster is one running PostgreSQL cluster.
type Cluster struct {
	Dir      string // the folder of data, log and certificates
	Bin      string // the folder of the server's programs
	Host     string // 127.0.0.1
	Port     int
	Socket   string // the folder of the Unix socket
	Password string // of Superuser; DSN uses it for every user
	CAFile   string // the CA's certificate (PEM), "" without TLS

	temporary bool
	owner     *syscall.Credential
	server    *process
	watchdog  *watchdog
}

// BinDir returns the folder of the newest installed PostgreSQL's programs.
func BinDir() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return "", fmt.Errorf("look for postgresql: %w", err)
	}
	if len(found) == 0 {
		path, err := exec.LookPath("postgres")
		if err != nil {
			return "", errors.New("postgresql is not installed: no /usr/lib/postgresql/*/bin/postgres and no postgres in PATH")
		}
		return filepath.Dir(path), nil
	}
	version := func(path string) float64 {
		v, _ := strconv.ParseFloat(strings.Split(path, "/")[4], 64)
		return v
	}
	sort.Slice(found, func(i, j int) bool { return version(found[i]) > version(found[j]) })
	return filepath.Dir(found[0]), nil
}

// Start starts a cluster and returns when it answers queries. The cluster is
// stopped by Stop, and when this process dies.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	bin, err := BinDir()
	if err != nil {
		return nil, err
	}
	c := &Cluster{Bin: bin, Host: "127.0.0.1"}
	if err := c.place(o.Dir); err != nil {
		return nil, err
	}
	if err := c.start(ctx, o); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, o Options) error {
	if err := c.initialise(ctx); err != nil {
		return err
	}
	if err := c.configure(o); err != nil {
		return err
	}
	// Another process may take the port between the look and the bind.
	var err error
	for range 5 {
		if c.Port, err = freePort(); err != nil {
			return err
		}
		if err = c.launch(ctx); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

func (c *Cluster) data() string    { return filepath.Join(c.Dir, "data") }
func (c *Cluster) logFile() string { return filepath.Join(c.Dir, "postgres.log") }

func (c *Cluster) initialise(ctx context.Context) error {
	passwordFile := filepath.Join(c.Dir, "password")
	if raw, err := os.ReadFile(passwordFile); err == nil {
		if _, err := os.Stat(filepath.Join(c.data(), "PG_VERSION")); err == nil {
			c.Password = strings.TrimSpace(string(raw))
			return nil
		}
	}
	var secret [16]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return fmt.Errorf("make a password: %w", err)
	}
	c.Password = hex.EncodeToString(secret[:])
	if err := c.write("password", []byte(c.Password+"\n"), 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(c.Bin, "initdb"),
		"--pgdata", c.data(), "--username", Superuser, "--pwfile", passwordFile,
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions")
	cmd.Dir = c.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.owner}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

func (c *Cluster) configure(o Options) error {
	settings := map[string]string{
		"listen_addresses":        c.Host,
		"unix_socket_directories": c.Socket,
		"password_encryption":     "scram-sha-256",
	}
	hba := append([]string{}, o.HBA...)
	if o.TLS {
		if err := c.makeCertificates(); err != nil {
			return err
		}
		settings["ssl"] = "on"
		settings["ssl_cert_file"] = filepath.Join(c.Dir, "server.crt")
		settings["ssl_key_file"] = filepath.Join(c.Dir, "server.key")
		settings["ssl_ca_file"] = c.CAFile
	}
	hba = append(hba,
		"local all all scram-sha-256",
		"host all all 127.0.0.1/32 scram-sha-256",
		"local replication all scram-sha-256",
		"host replication all 127.0.0.1/32 scram-sha-256",
	)
	for k, v := range o.Settings {
		settings[k] = v
	}
	var conf strings.Builder
	for k, v := range settings {
		fmt.Fprintf(&conf, "%s = '%s'\n", k, strings.ReplaceAll(v, "'", "''"))
	}
	if err := c.write("data/postgresql.auto.conf", []byte(conf.String()), 0o600); err != nil {
		return err
	}
	return c.write("data/pg_hba.conf", []byte(strings.Join(hba, "\n")+"\n"), 0o600)
}

func (c *Cluster) launch(ctx context.Context) error {
	log, err := os.OpenFile(c.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the server's log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(c.Bin, "postgres"), "-D", c.data(), "-p", strconv.Itoa(c.Port))
	cmd.Dir = c.Dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: c.owner,
		Setpgid:    true, // Ctrl-C stops the cluster through its owner, in order
		Pdeathsig:  syscall.SIGQUIT,
	}
	server, err := startProcess(cmd)
	if err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	c.server = server
	if c.temporary {
		if c.watchdog, err = startWatchdog(cmd.Process.Pid, c.Dir, c.Socket); err != nil {
			return errors.Join(err, server.stop())
		}
	}
	for {
		conn, err := pgx.Connect(ctx, c.DSN("postgres", Superuser))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-server.done:
			c.watchdog.release()
			tail, _ := os.ReadFile(c.logFile())
			return fmt.Errorf("postgres ended: %w: %s", server.err, lastBytes(tail, 2000))
		case <-ctx.Done():
			return fmt.Errorf("wait for postgres: %w (last: %w)", ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// DSN returns a connection URL for a database and a user. Every user is given
// the superuser's password: create roles with Password to use it.
func (c *Cluster) DSN(db, user string) string {
	u := url.URL{
		Scheme: "postgres",
		User:   url.UserPassword(user, c.Password),
		Host:   net.JoinHostPort(c.Host, strconv.Itoa(c.Port)),
		Path:   "/" + db,
	}
	query := url.Values{"sslmode": {"disable"}}
	if c.CAFile != "" {
		query = url.Values{"sslmode": {"verify-full"}, "sslrootcert": {c.CAFile}}
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// Exec runs SQL, of one or several statements, as the superuser.
func (c *Cluster) Exec(ctx context.Context, db, sql string) error {
	conn, err := pgx.Connect(ctx, c.DSN(db, Superuser))
	if err != nil {
		return fmt.Errorf("connect to %s: %w", db, err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.PgConn().Exec(ctx, sql).ReadAll(); err != nil {
		return fmt.Errorf("exec in %s: %w", db, err)
	}
	return nil
}

// PID is the postmaster's process id, 0 when the cluster is not running.
func (c *Cluster) PID() int {
	if c.server == nil {
		return 0
	}
	return c.server.cmd.Process.Pid
}

// Stop shuts the cluster down: fast, then by force. A temporary folder is
// removed, a folder given in Options is kept. It may be called again.
func (c *Cluster) Stop() error {
	var err error
	if c.server != nil {
		err = c.server.stop()
		c.server = nil
	}
	c.watchdog.release()
	c.watchdog = nil
	if c.Socket != "" {
		err = errors.Join(err, os.RemoveAll(c.Socket))
	}
	if c.temporary && c.Dir != "" {
		err = errors.Join(err, os.RemoveAll(c.Dir))
	}
	return err
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func lastBytes(b []byte, n int) []byte {
	if len(b) > n {
		b = b[len(b)-n:]
	}
	return bytes.TrimSpace(b)
}
