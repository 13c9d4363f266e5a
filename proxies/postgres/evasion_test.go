package postgres_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	pg_query "github.com/pganalyze/pg_query_go/v5"
	"github.com/rogpeppe/go-internal/txtar"
)

var rewrite = flag.Bool("update", false, "rewrite what testdata/postgres/evasion expects")

const evasion = "../../testdata/postgres/evasion"

// hidden are the columns that masks are on.
var hidden = []string{
	"public.customers.email", "public.customers.ssn", "public.emails_seen.email", "public.gen.email", "public.parent.email", "public.part.email",
	"public.pairs.who", "public.pairs.tags", "public.members.email", "public.joined.email", "sb.t.x",
}

// evasionPacks are the ready packs in force, with masks on the hidden columns.
func evasionPacks(t testing.TB) option {
	masks, columns := map[string]any{}, hidden
	for _, h := range hidden {
		masks[h] = map[string]string{"method": "redact"}
	}
	site, err := json.Marshal(map[string]any{
		"sql_pii_masks":         map[string]any{"fields": masks, "detect": map[string]any{}},
		"sql_masked_predicates": map[string]any{"columns": columns},
	})
	must(t, err)
	return withPacks(t, string(site), "pii_masks", "masked_predicates", "masked_copies", "no_server_access", "no_stored_code",
		"no_privilege_changes", "no_destructive_ddl", "where_required", "complete")
}

// evasionMasks is the same with nothing but the masks: everything is allowed,
// also what is opaque.
func evasionMasks() option {
	rego := permissive
	for _, h := range hidden {
		rego += fmt.Sprintf("mask contains {\"id\": %q, \"field\": %q, \"method\": \"redact\"} if true\n", "test/"+h, h)
	}
	return withPolicy(rego)
}

// A client is one way to send a case's statements.
type client struct {
	name string
	// extended: each statement by itself, in the extended protocol; otherwise
	// all of them in one query message.
	extended bool
	// loose: what a failure leaves out is the client's own business.
	loose bool
	run   func(t *testing.T, a *attack, port string)
}

var clients = []client{
	{"pgx-simple", false, false, pgxSimple},
	{"pgx-extended", true, false, pgxExtended(0)},
	{"pgx-binary", true, false, pgxExtended(1)},
	{"pgx-pipeline", true, true, pgxPipeline},
	{"psql", false, true, psqlClient},
	{"node-simple", false, true, nodeClient("simple")},
	{"node-extended", true, true, nodeClient("extended")},
}

// An attack is one case being tried.
type attack struct {
	g          *gateway
	node       *nodeProcess
	name       string
	text       string
	statements []string // of the text
	token      string
}

// An evasionCase is one file.
type evasionCase struct {
	file    string
	archive *txtar.Archive
	sql     string
	want    map[string]string
}

func evasionCases(t *testing.T) []*evasionCase {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(evasion, "*.txtar"))
	must(t, err)
	var out []*evasionCase
	for _, file := range files {
		ar, err := txtar.ParseFile(file)
		must(t, err)
		c := &evasionCase{file: file, archive: ar, want: map[string]string{}}
		for _, f := range ar.Files {
			switch f.Name {
			case "sql":
				c.sql = strings.TrimSuffix(string(f.Data), "\n")
			case "want":
				for _, l := range strings.Split(strings.TrimSpace(string(f.Data)), "\n") {
					how, what, _ := strings.Cut(l, ": ")
					c.want[how] = what
				}
			default:
				t.Fatalf("%s: what is %q?", file, f.Name)
			}
		}
		out = append(out, c)
	}
	if len(out) < 300 {
		t.Fatalf("only %d cases", len(out))
	}
	return out
}

func (c *evasionCase) name() string { return strings.TrimSuffix(filepath.Base(c.file), ".txtar") }

// write puts what was seen into the file.
func (c *evasionCase) write(t *testing.T) {
	t.Helper()
	var lines []string
	for how, what := range c.want {
		lines = append(lines, how+": "+what+"\n")
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(b, a) })
	data := []byte(strings.Join(lines, ""))
	i := slices.IndexFunc(c.archive.Files, func(f txtar.File) bool { return f.Name == "want" })
	if i < 0 {
		c.archive.Files = append(c.archive.Files, txtar.File{Name: "want"})
		i = len(c.archive.Files) - 1
	}
	c.archive.Files[i].Data = data
	must(t, os.WriteFile(c.file, txtar.Format(c.archive), 0o644))
}

// evasionField is a gateway in front of the database that is attacked.
type evasionField struct {
	t      *testing.T
	g      *gateway
	owner  *pgx.Conn
	seed   string
	schema string
	first  [2]string // prints of schema and data as they should be
	node   *nodeProcess
	hunt   map[string]*hunt // by the secrets that it leaves out
	all    []string
}

func openField(t *testing.T, policy ...option) *evasionField {
	t.Helper()
	read := func(name string) string {
		raw, err := os.ReadFile(filepath.Join(evasion, name))
		must(t, err)
		return string(raw)
	}
	f := &evasionField{t: t, schema: read("schema.sql"), seed: read("seed.sql"), node: startNode(t), hunt: map[string]*hunt{}}
	f.all = regexp.MustCompile(`[A-Za-z]{7}@[A-Za-z]+\.[a-z]{2}|\d{3}-\d\d-\d{4}`).FindAllString(f.seed, -1)
	slices.Sort(f.all)
	f.all = slices.Compact(f.all)
	if len(f.all) < 12 {
		t.Fatalf("only %d secrets", len(f.all))
	}
	f.g = start(t, append(policy, func(s *settings) { s.schema = f.schema + f.seed + "ANALYZE;" })...)
	conn, err := pgx.Connect(t.Context(), f.g.db.URL())
	must(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	f.owner = conn
	f.first = f.prints()
	// What another session did last, for those who look at others'.
	other, err := pgx.Connect(t.Context(), f.g.db.URL())
	must(t, err)
	t.Cleanup(func() { _ = other.Close(context.Background()) })
	_, err = other.PgConn().Exec(t.Context(), "PREPARE others AS SELECT '"+f.all[len(f.all)-1]+"'; SELECT lo_from_bytea(0, '"+f.all[len(f.all)-1]+"'); SELECT '"+f.all[len(f.all)-1]+"'").ReadAll()
	must(t, err)
	return f
}

// prints tell one state of the schema and of the data from another.
func (f *evasionField) prints() [2]string {
	f.t.Helper()
	var out [2]string
	must(f.t, f.owner.QueryRow(f.t.Context(), `SELECT concat_ws(' ',
	 (SELECT string_agg(concat_ws('/', oid, relname, relnamespace, relnatts, relkind), ' ' ORDER BY oid) FROM pg_class
	   WHERE relnamespace <> 'pg_toast'::regnamespace AND relpersistence <> 't' AND oid >= 16384),
	 (SELECT string_agg(concat_ws('/', attrelid, attname, atttypid), ' ' ORDER BY attrelid, attnum) FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE attrelid >= 16384 AND relkind <> 't' AND relpersistence <> 't'),
	 (SELECT string_agg(concat_ws('/', oid, ev_action), ' ' ORDER BY oid) FROM pg_rewrite WHERE oid >= 16384),
	 (SELECT string_agg(oid::text, ' ' ORDER BY oid) FROM pg_proc WHERE oid >= 16384),
	 (SELECT string_agg(nspname, ' ' ORDER BY oid) FROM pg_namespace WHERE nspname !~ '^pg_'),
	 (SELECT string_agg(concat_ws('/', inhrelid, inhparent), ' ' ORDER BY inhrelid) FROM pg_inherits),
	 (SELECT count(*) FROM pg_cast), (SELECT count(*) FROM pg_operator), (SELECT count(*) FROM pg_publication), (SELECT count(*) FROM pg_policy), (SELECT count(*) FROM pg_extension),
	 (SELECT string_agg(defaclacl::text, ' ') FROM pg_default_acl), (SELECT relacl::text FROM pg_class WHERE oid = to_regclass('public.customers')),
	 (SELECT count(*) FROM pg_foreign_server), (SELECT count(*) FROM pg_subscription), (SELECT count(*) FROM pg_statistic_ext), (SELECT count(*) FROM pg_db_role_setting))`).Scan(&out[0]))
	if out[0] != f.first[0] && f.first[0] != "" {
		return out
	}
	var parts []string
	for _, table := range []string{"customers", "orders", "lines", "emails_seen", "gen", "parent", "part", "pairs", "groups", "members", "clubs", "joined", "typed", "audited", "sa.t", "sb.t"} {
		parts = append(parts, fmt.Sprintf("(SELECT string_agg(x::text, ' ' ORDER BY x::text) FROM %s x)", table))
	}
	must(f.t, f.owner.QueryRow(f.t.Context(), "SELECT concat_ws('|', "+strings.Join(parts, ", ")+", (SELECT last_value FROM seq1))").Scan(&out[1]))
	return out
}

// changes are the words of two prints that are not in both.
func changes(before, after [2]string) string {
	var out []string
	for i := range before {
		a, b := strings.Fields(before[i]), strings.Fields(after[i])
		for _, w := range a {
			if !slices.Contains(b, w) {
				out = append(out, "- "+w)
			}
		}
		for _, w := range b {
			if !slices.Contains(a, w) {
				out = append(out, "+ "+w)
			}
		}
	}
	return strings.Join(out[:min(len(out), 20)], "\n")
}

// restore puts back what a case has changed.
func (f *evasionField) restore(now [2]string) {
	f.t.Helper()
	do := func(sql string) {
		f.t.Helper()
		_, err := f.owner.PgConn().Exec(f.t.Context(), sql).ReadAll()
		must(f.t, err)
	}
	switch {
	case now == f.first:
		return
	case now[0] == f.first[0]:
		do(f.seed + "SELECT setval('seq1', 1, false)")
	default:
		do(`SET client_min_messages = error; DROP PUBLICATION IF EXISTS p; DROP SCHEMA public, sa, sb CASCADE; DROP SCHEMA IF EXISTS evil CASCADE; CREATE SCHEMA public; DROP EXTENSION IF EXISTS file_fdw CASCADE`)
		do(f.schema + f.seed)
		// DDL that the gateway sees makes it read the catalogue again.
		conn := f.g.connect("restore")
		_, err := query(f.t, conn, "CREATE SCHEMA again")
		must(f.t, err)
		_ = conn.Close(f.t.Context())
		do("DROP SCHEMA again")
	}
	f.first = [2]string{}
	f.first = f.prints()
}

// hunter returns the hunt for the secrets that a text does not hold itself.
func (f *evasionField) hunter(text string) *hunt {
	var rest []string
	for _, s := range f.all {
		if !strings.Contains(text, s) {
			rest = append(rest, s)
		}
	}
	key := strings.Join(rest, " ")
	if f.hunt[key] == nil {
		f.hunt[key] = newHunt(rest)
	}
	return f.hunt[key]
}

// try runs a case by one client and returns the bytes that it received.
func (f *evasionField) try(c *evasionCase, by client) []byte {
	f.t.Helper()
	wire := newTap(f.t, f.g.address)
	a := &attack{g: f.g, node: f.node, name: c.name() + "/" + by.name, text: c.sql, token: f.g.token(c.name() + "/" + by.name)}
	a.statements = split(c.sql)
	by.run(f.t, a, wire.port())
	return wire.close()
}

// split cuts a text into its statements as far as it can be read.
func split(sql string) []string {
	list, err := pg_query.SplitWithScanner(sql, true)
	if err != nil || len(list) == 0 {
		return []string{sql}
	}
	return list
}

// outcome says in a line what a client was told.
func outcome(stream []byte) string {
	var out []string
	for _, m := range messages(stream) {
		switch m := m.(type) {
		case *pgproto3.CommandComplete:
			out = append(out, string(m.CommandTag))
		case *pgproto3.ErrorResponse:
			if m.Routine == "regate" {
				reason, _, _ := strings.Cut(strings.TrimPrefix(m.Detail, "reason: "), ";")
				out = append(out, "denied "+reason)
			} else {
				out = append(out, "error "+m.Code)
			}
		}
	}
	return strings.Join(out, "; ")
}

// The cases of testdata/postgres/evasion, each with the ready packs in force:
// no hidden value reaches a client or the recording, in any form that can be
// listed; what is denied changes nothing; and it is denied for the reason that
// the file has. A case is one file; -update writes what was seen.
//
// Every second case is tried by one of the clients in turn; with
// REGATE_EVASION=all each case by every one of them.
func TestEvasion(t *testing.T) {
	f := openField(t, withPolicy(permissive), evasionPacks(t))
	every := os.Getenv("REGATE_EVASION") == "all" || *rewrite
	cases, tries := evasionCases(t), 0
	for i, c := range cases {
		if *rewrite && c.want["simple"] != "" && os.Getenv("REGATE_EVASION") != "all" {
			continue
		}
		for n, by := range clients {
			if !every && (i%2 != 0 || n != (i/2)%len(clients)) || *rewrite && n > 1 {
				continue
			}
			tries++
			stream := f.try(c, by)
			if found := f.hunter(c.sql).in(stream); found != "" {
				t.Errorf("%s by %s: %s\n\t%s", c.name(), by.name, c.sql, found)
			}
			got, how := outcome(stream), "simple"
			if by.extended {
				how = "extended"
			}
			if got == "" && by.name != "pgx-pipeline" {
				t.Errorf("%s by %s: no outcome\n\t%s", c.name(), by.name, c.sql)
			}
			switch {
			case by.loose:
			case *rewrite:
				c.want[how] = got
			case c.want[how] != got:
				t.Errorf("%s by %s: %s\n\tgot:  %s\n\twant: %s", c.name(), by.name, c.sql, got, c.want[how])
			}
			now := f.prints()
			if now != f.first && strings.HasPrefix(got, "denied ") && (!by.extended || len(split(c.sql)) == 1) {
				t.Errorf("%s by %s: %s\n\twas denied (%s) and has changed something:\n%s", c.name(), by.name, c.sql, got, changes(f.first, now))
			}
			f.restore(now)
		}
		if *rewrite {
			c.write(t)
		}
	}
	t.Logf("%d cases, %d tries", len(cases), tries)
	f.searchRecording(cases, tries)
}

// beyond are the cases that reach the server, make code or change rights: they
// are denied, and nothing is to be learnt from running them.
var beyond = regexp.MustCompile(`no_server_access|no_stored_code|no_privilege_changes|guarded-setting`)

// Masks alone hold, too, against all that does not copy a value to where it has
// no mask, run code of its own, or leave the database: nothing else is denied
// here. A file says what masks alone do not hide, and why that is so, in
// "alone".
func TestEvasionMasksAlone(t *testing.T) {
	f := openField(t, evasionMasks())
	every := os.Getenv("REGATE_EVASION") == "all" || *rewrite
	cases, tries := evasionCases(t), 0
	for i, c := range cases {
		if beyond.MatchString(c.want["simple"] + c.want["extended"]) {
			continue
		}
		for n, by := range clients {
			if !every && (i%8 != 1 || n != (i/8)%len(clients)) || *rewrite && n > 1 {
				continue
			}
			tries++
			found := f.hunter(c.sql).in(f.try(c, by))
			if found != "" && c.want["alone"] == "" {
				t.Errorf("%s by %s: %s\n\t%s", c.name(), by.name, c.sql, found)
			}
			f.restore(f.prints())
		}
	}
	t.Logf("%d cases, %d tries", len(cases), tries)
}

// searchRecording looks for the secrets in all that was recorded.
func (f *evasionField) searchRecording(cases []*evasionCase, tries int) {
	f.t.Helper()
	texts := map[string]string{}
	for _, c := range cases {
		texts[c.name()] = c.sql
	}
	subject := regexp.MustCompile(`\d{3}-[-a-z0-9]+/`)
	whose := map[string]string{}
	n := 0
	for _, e := range f.g.events() {
		id := e.Session.String()
		if whose[id] == "" {
			whose[id] = strings.TrimSuffix(string(subject.Find(e.Body)), "/")
		}
		n++
		if found := f.hunter(texts[whose[id]]).raw(e.Body); found != "" {
			f.t.Errorf("%s: the recording holds %s (event %d)", whose[id], found, e.Seq)
		}
	}
	if n < tries {
		f.t.Errorf("only %d events of %d tries", n, tries)
	}
}

// tap is a port that leads to the gateway and keeps what comes back from it.
type tap struct {
	t        *testing.T
	listener net.Listener
	mu       sync.Mutex
	stream   bytes.Buffer
	open     sync.WaitGroup
}

func newTap(t *testing.T, to string) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &tap{t: t, listener: l}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.open.Add(1)
			go p.serve(conn, to)
		}
	}()
	return p
}

func (p *tap) port() string {
	_, port, _ := net.SplitHostPort(p.listener.Addr().String())
	return port
}

func (p *tap) serve(conn net.Conn, to string) {
	defer p.open.Done()
	defer conn.Close()
	up, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer up.Close()
	go func() {
		_, _ = io.Copy(up, conn)
		_ = up.(*net.TCPConn).CloseWrite()
	}()
	var one bytes.Buffer
	_, _ = io.Copy(io.MultiWriter(conn, &one), up)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stream.Write(one.Bytes())
}

// close waits for the connections to end and returns what came through.
func (p *tap) close() []byte {
	_ = p.listener.Close()
	p.open.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stream.Bytes()
}

func (a *attack) connect(t *testing.T, port string) *pgconn.PgConn {
	t.Helper()
	c, err := pgconn.ParseConfig("host=127.0.0.1 port=" + port + " user=agent dbname=shop sslmode=disable")
	must(t, err)
	c.Password = a.token
	conn, err := pgconn.ConnectConfig(t.Context(), c)
	must(t, err)
	return conn
}

const attackTime = 30 * time.Second

// parameters are values for $1, where it occurs.
func parameters(sql string) (text [][]byte, plain []string) {
	plain = []string{}
	if strings.Contains(sql, "=$1") || strings.Contains(sql, "= $1") {
		return [][]byte{[]byte("1")}, []string{"1"}
	}
	return nil, plain
}

func pgxSimple(t *testing.T, a *attack, port string) {
	conn := a.connect(t, port)
	ctx, cancel := context.WithTimeout(t.Context(), attackTime)
	defer cancel()
	if !copies(ctx, conn, a.text) {
		_, _ = conn.Exec(ctx, a.text).ReadAll()
	}
	_ = conn.Close(ctx)
}

// copies runs a COPY FROM STDIN, which pgconn wants to be told of.
func copies(ctx context.Context, conn *pgconn.PgConn, sql string) bool {
	if !strings.Contains(sql, "FROM STDIN") {
		return false
	}
	_, _ = conn.CopyFrom(ctx, strings.NewReader("x\n"), sql)
	return true
}

func pgxExtended(format int16) func(*testing.T, *attack, string) {
	return func(t *testing.T, a *attack, port string) {
		conn := a.connect(t, port)
		ctx, cancel := context.WithTimeout(t.Context(), attackTime)
		defer cancel()
		for _, sql := range a.statements {
			values, _ := parameters(sql)
			if !copies(ctx, conn, sql) {
				_ = conn.ExecParams(ctx, sql, values, nil, nil, []int16{format}).Read()
			}
		}
		_ = conn.Close(ctx)
	}
}

func pgxPipeline(t *testing.T, a *attack, port string) {
	conn := a.connect(t, port)
	ctx, cancel := context.WithTimeout(t.Context(), attackTime)
	defer cancel()
	p := conn.StartPipeline(ctx)
	for _, sql := range a.statements {
		if strings.Contains(sql, "FROM STDIN") {
			continue // not in pgx's pipelines
		}
		values, _ := parameters(sql)
		p.SendQueryParams(sql, values, nil, nil, nil)
	}
	if p.Sync() == nil {
		for {
			results, err := p.GetResults()
			if reader, ok := results.(*pgconn.ResultReader); ok {
				_ = reader.Read()
			}
			if _, done := results.(*pgconn.PipelineSync); done || err != nil && conn.IsClosed() || results == nil && err == nil {
				break
			}
		}
	}
	_ = p.Close()
	_ = conn.Close(ctx)
}

func psqlClient(t *testing.T, a *attack, port string) {
	ctx, cancel := context.WithTimeout(t.Context(), attackTime)
	defer cancel()
	cmd := a.g.psql(ctx, "-q", "-c", a.text)
	cmd.Env = append(cmd.Env, "PGPORT="+port, "PGPASSWORD="+a.token)
	_, _ = cmd.CombinedOutput()
}

// nodeProcess is a Node.js that runs node-postgres.
type nodeProcess struct {
	in  io.Writer
	out *bufio.Reader
}

func startNode(t *testing.T) *nodeProcess {
	t.Helper()
	dir, err := filepath.Abs("../../testdata/postgres/node")
	must(t, err)
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "pg")); err != nil {
		install := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
		install.Dir = dir
		if out, err := install.CombinedOutput(); err != nil {
			t.Fatalf("node-postgres is needed for this test: %v\n%s", err, out)
		}
	}
	cmd := exec.CommandContext(t.Context(), "node", "driver.mjs")
	cmd.Dir = dir
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	return &nodeProcess{in: stdin, out: bufio.NewReader(stdout)}
}

func nodeClient(mode string) func(*testing.T, *attack, string) {
	return func(t *testing.T, a *attack, port string) {
		type statement struct {
			Text   string   `json:"text"`
			Values []string `json:"values"`
		}
		list := []statement{{a.text, []string{}}}
		if mode == "extended" {
			list = nil
			for _, sql := range a.statements {
				_, values := parameters(sql)
				list = append(list, statement{sql, values})
			}
		}
		job, err := json.Marshal(map[string]any{"port": json.Number(port), "password": a.token, "database": "shop", "mode": mode, "statements": list})
		must(t, err)
		_, err = a.node.in.Write(append(job, '\n'))
		must(t, err)
		_, err = a.node.out.ReadString('\n')
		must(t, err)
	}
}
