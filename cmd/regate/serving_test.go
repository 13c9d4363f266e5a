package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/regate-dev/regate/engine/identity/identitytest"
	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

// site is a folder with a configuration of `regate serve`, in front of a
// database of its own.
type site struct {
	dir, config, state string
	db                 *pgtest.Database
	issuer             *identitytest.Issuer
}

func newSite(t *testing.T) *site {
	t.Helper()
	dir := t.TempDir()
	s := &site{
		dir: dir, config: filepath.Join(dir, "regate.yaml"), state: filepath.Join(dir, "state"),
		db: pgtest.Shared(t), issuer: identitytest.New(t),
	}
	if err := s.db.Run(t.Context(), "CREATE TABLE marks (mark text, hidden text)"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "policies"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		filepath.Join(dir, "policies", "p.rego"): `# METADATA
# scope: package
# custom:
#   regate: {protocols: [postgres], mode: enforce}
package regate.policies.acme.sql

allow contains {"id": "acme.sql/all"} if true

mask contains {"id": "acme.sql/hidden", "field": "public.marks.hidden", "method": "redact"} if true
`,
		s.config: fmt.Sprintf(`
log: {format: json}
state: {dir: state}
record: {gateway: gw-test}
admin: {address: "127.0.0.1:0"}
identity: {issuers: [{name: test, url: %q, audiences: [regate], insecure_http: true}]}
policy: {bundles: [{name: main, paths: [policies]}], timeout: 10s}
postgres: {listeners: [{address: "127.0.0.1:0"}]}
targets: [{name: shop, address: "%s:%d", database: %s, user: %s, password: env:PW, tls: {mode: disable}, match: {databases: [shop]}}]
`, s.issuer.URL, s.db.Host, s.db.Port, s.db.Name, pgtest.Superuser),
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// serving is a `regate serve` in a process of its own.
type serving struct {
	site  *site
	cmd   *exec.Cmd
	agent string // the address for agents
	admin string
}

// serve starts the gateway and returns when it is ready. env are settings that
// differ from the file's.
func (s *site) serve(t *testing.T, env ...string) *serving {
	t.Helper()
	p := &serving{site: s, cmd: exec.Command("regate", "serve", "-c", s.config)}
	p.cmd.Dir = s.dir
	p.cmd.Env = append(append(os.Environ(), "PW="+s.db.Password), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	logs, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.kill(t) })
	running := make(chan struct{})
	log := t.Output()
	go func() {
		lines := bufio.NewScanner(logs)
		for lines.Scan() {
			fmt.Fprintln(log, lines.Text())
			var line struct{ Msg, Address string }
			if json.Unmarshal(lines.Bytes(), &line) != nil {
				continue
			}
			switch line.Msg {
			case "listening for PostgreSQL":
				p.agent = line.Address
			case "listening for administration":
				p.admin = line.Address
			case "regate is running":
				close(running)
			}
		}
	}()
	select {
	case <-running:
	case <-time.After(awaitFor):
		t.Fatal("the gateway does not start")
	}
	for status := 0; status != http.StatusOK; time.Sleep(5 * time.Millisecond) {
		if status, _, err = call("", "GET", "http://"+p.admin+"/readyz", ""); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// kill is kill -9. It may be called again.
func (p *serving) kill(t *testing.T) {
	t.Helper()
	if p.cmd.ProcessState != nil {
		return
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// stop is an orderly end.
func (p *serving) stop(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("regate serve: %v", err)
	}
}

// login is how agents connect.
func (p *serving) login(t *testing.T) *pgx.ConnConfig {
	t.Helper()
	c, err := pgx.ParseConfig(fmt.Sprintf("postgres://agent@%s/shop?sslmode=disable", p.agent))
	if err != nil {
		t.Fatal(err)
	}
	c.Password = p.site.issuer.Mint(p.site.issuer.Claims("regate", time.Now(), nil))
	return c
}
