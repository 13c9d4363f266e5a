package analyze_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/regate-dev/regate/proxies/postgres/analyze"
	"github.com/regate-dev/regate/proxies/postgres/catalog"
	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

// TestAgainstServerRegress compares the analysis with what PostgreSQL says of
// the statements of PostgreSQL's own regression suite, in the order and the
// state in which the suite runs them. REGATE_REGRESS names the suite's folder
// (src/test/regress of the sources); `make conformance-postgres` fetches it.
// REGATE_REGRESS_FILES is a pattern of the files to compare: the others only
// run.
func TestAgainstServerRegress(t *testing.T) {
	suite := os.Getenv("REGATE_REGRESS")
	if suite == "" {
		t.Skip("REGATE_REGRESS is not set: make conformance-postgres runs this")
	}
	only := regexp.MustCompile(os.Getenv("REGATE_REGRESS_FILES"))
	d := pgtest.Shared(t)
	r := &regress{t: t, suite: suite, d: d, a: analyze.New(analyze.Options{})}
	r.setUp()
	schedule, err := os.ReadFile(filepath.Join(suite, "parallel_schedule"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(schedule), "\n") {
		names, ok := strings.CutPrefix(line, "test: ")
		if !ok {
			continue
		}
		for _, name := range strings.Fields(names) {
			r.file(name, only.MatchString(name))
		}
	}
	r.origin.log(t, "result columns")
	r.reads.log(t, "dependencies")
	r.locks.log(t, "locks")
	t.Logf("%d statements, %d of them analysed, %d refused by the parser, %d understood completely", r.statements, r.analysed, r.refused, r.complete)
	t.Logf("refused by the parser, taken by the server: %d", r.refusedWrongly)
}

// regress is one run of the suite.
type regress struct {
	t     *testing.T
	suite string
	d     *pgtest.Database
	a     *analyze.Analyzer
	conn  *pgx.Conn

	loader  *pgx.Conn
	snap    *catalog.Snapshot
	set     analyze.Settings
	staleDB bool // the catalogue may have changed
	stale   bool // what the session holds may have

	statements, analysed, refused, refusedWrongly, complete int
	origin, reads, locks                                    counts
}

func (r *regress) setUp() {
	r.t.Helper()
	ctx := r.t.Context()
	r.origin.reasons = map[string]int{}
	var err error
	if r.loader, err = pgx.Connect(ctx, r.d.URL()); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = r.loader.Close(context.Background()) })
	if _, err := r.loader.Exec(ctx, fmt.Sprintf(`ALTER DATABASE %s SET lc_messages = 'C'`, r.d.Name)); err != nil {
		r.t.Fatal(err)
	}
	r.reconnect()
}

func (r *regress) reconnect() {
	r.t.Helper()
	if r.conn != nil {
		_ = r.conn.Close(r.t.Context())
	}
	config, err := pgx.ParseConfig(r.d.URL())
	if err != nil {
		r.t.Fatal(err)
	}
	config.RuntimeParams["statement_timeout"] = "20s"
	config.RuntimeParams["timezone"] = "PST8PDT"
	config.RuntimeParams["datestyle"] = "Postgres, MDY"
	if r.conn, err = pgx.ConnectConfig(r.t.Context(), config); err != nil {
		r.t.Fatal(err)
	}
	r.staleDB, r.stale = true, true
}

var variable = regexp.MustCompile(`:'?([a-z_]+)'?`)

// file runs one file of the suite.
func (r *regress) file(name string, compare bool) {
	r.t.Helper()
	raw, err := os.ReadFile(filepath.Join(r.suite, "sql", name+".sql"))
	if err != nil {
		r.t.Fatal(err)
	}
	start, before := time.Now(), r.statements
	r.reconnect()
	abs, _ := filepath.Abs(r.suite)
	for _, st := range cut(string(raw)) {
		if r.conn.IsClosed() {
			r.reconnect()
		}
		sql := variable.ReplaceAllStringFunc(st.sql, func(v string) string {
			quoted := strings.Contains(v, "'")
			switch strings.Trim(v, ":'") {
			case "filename":
				return "'" + abs + "/data/nothing.data'"
			case "libdir", "regresslib", "dlsuffix", "abs_srcdir", "abs_builddir":
				if quoted {
					return "'" + abs + "'"
				}
				return abs
			}
			return v
		})
		if strings.TrimSpace(sql) == "" {
			continue
		}
		if strings.Contains(strings.ToUpper(sql), "DROP DATABASE") || strings.Contains(strings.ToLower(sql), "pg_terminate_backend") {
			continue
		}
		if compare {
			r.compare(sql)
		}
		r.run(sql, st.data)
	}
	if compare {
		r.t.Logf("%s: %d statements in %s; wrong so far: %d", name, r.statements-before, time.Since(start).Round(time.Millisecond), r.origin.wrong+r.reads.wrong+r.locks.wrong)
	}
}

func (r *regress) run(sql, data string) {
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	pg := r.conn.PgConn()
	if data != "" || strings.Contains(strings.ToLower(sql), "from stdin") {
		_, _ = pg.CopyFrom(ctx, strings.NewReader(data), sql)
		return
	}
	_, _ = pg.Exec(ctx, sql).ReadAll()
	switch word := strings.ToLower(strings.TrimSpace(firstWord(sql))); word {
	case "select", "values", "table", "insert", "update", "delete", "with", "explain", "fetch", "move", "merge", "begin", "savepoint", "release", "show", "analyze", "vacuum":
		r.stale = r.stale || strings.Contains(sql, "set_config") || strings.Contains(strings.ToLower(sql), "into")
	default:
		r.stale, r.staleDB = true, true
	}
}

func firstWord(sql string) string {
	fields := strings.FieldsFunc(sql, func(c rune) bool { return c == ' ' || c == '\n' || c == '\t' || c == '(' || c == ';' })
	if len(fields) == 0 {
		return ""
	}
	return fields[0]
}

// refresh learns what names mean now.
func (r *regress) refresh() bool {
	ctx := r.t.Context()
	pg := r.conn.PgConn()
	if r.staleDB {
		// In the session itself: it sees what it has not committed.
		snap, err := catalog.Load(ctx, r.conn)
		if err != nil {
			return false
		}
		r.snap, r.staleDB = snap, false
	}
	if r.stale {
		rows, err := pg.Exec(ctx, "SELECT pg_catalog.unnest(pg_catalog.current_schemas(true)); SELECT current_user; "+analyze.TempProbe).ReadAll()
		if err != nil || len(rows) != 3 {
			return false
		}
		r.set = analyze.Settings{Mode: analyze.Simple, User: string(rows[1].Rows[0][0])}
		for _, row := range rows[0].Rows {
			r.set.SearchPath = append(r.set.SearchPath, string(row[0]))
		}
		var temp [][2]string
		for _, row := range rows[2].Rows {
			temp = append(temp, [2]string{string(row[0]), string(row[1])})
		}
		r.set.Temp = (*analyze.TempRelations)(nil).Probed(temp)
		more, err := pg.Exec(ctx, "SELECT relname FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.pg_my_temp_schema() AND (relhassubclass OR relkind = 'v')").ReadAll()
		if err != nil {
			return false
		}
		for _, row := range more[0].Rows {
			for i, known := range r.set.Temp.Relations {
				if known.Name == string(row[0]) {
					r.set.Temp.Relations[i].More = true
				}
			}
		}
		r.stale = false
	}
	return true
}

func (r *regress) compare(sql string) {
	r.statements++
	t, ctx, pg := r.t, r.t.Context(), r.conn.PgConn()
	if pg.TxStatus() == 'E' {
		return
	}
	if !r.refresh() {
		return
	}
	batch, err := r.a.Analyze(sql, r.snap, r.set)
	if err != nil {
		r.refused++
		r.inside(func() {
			if _, err := pg.Prepare(ctx, "", sql, nil); err == nil {
				r.refusedWrongly++
				t.Logf("refused, but the server takes it: %v: %.200s", err, sql)
			}
		})
		return
	}
	if len(batch.Statements) != 1 {
		return
	}
	s := batch.Statements[0]
	r.analysed++
	if s.Complete {
		r.complete++
	}
	r.origin.statements++
	for _, u := range s.Facts.Unknown {
		r.origin.reasons[u.Why]++
	}
	switch s.Command {
	case "select", "insert", "update", "delete", "merge":
	default:
		return
	}
	r.inside(func() {
		description, err := pg.Prepare(ctx, "", sql, nil)
		if err == nil {
			if s.Complete {
				r.origin.complete++
			}
			compareOrigin(t, r.snap, s, pg, description, &r.origin)
		}
	})
	r.inside(func() { compareReads(t, r.snap, s, pg, &r.reads) })
	if !strings.Contains(sql, "pg_locks") && !strings.Contains(sql, "dblink") {
		r.inside(func() { compareLocks(t, r.snap, s, pg, &r.locks) })
	}
}

// inside does something that leaves nothing behind.
func (r *regress) inside(do func()) {
	ctx := r.t.Context()
	pg := r.conn.PgConn()
	begin, end := "BEGIN", "ROLLBACK"
	switch pg.TxStatus() {
	case 'E':
		return
	case 'T':
		begin, end = "SAVEPOINT regate", "ROLLBACK TO SAVEPOINT regate; RELEASE SAVEPOINT regate"
	}
	if _, err := pg.Exec(ctx, begin).ReadAll(); err != nil {
		return
	}
	do()
	_, _ = pg.Exec(ctx, end).ReadAll()
}

type piece struct{ sql, data string }

// cut splits a psql script into its statements; psql's own commands are left
// out.
func cut(script string) []piece {
	var out []piece
	var text strings.Builder
	lines := strings.Split(script, "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		if strings.HasPrefix(line, `\`) {
			if strings.HasPrefix(line, `\.`) || strings.HasPrefix(line, `\c`) {
				text.Reset()
			}
			continue
		}
		text.WriteString(line)
		text.WriteByte('\n')
		for {
			head, rest, ok := cutStatement(text.String())
			if !ok {
				break
			}
			text.Reset()
			text.WriteString(rest)
			p := piece{sql: head}
			if lower := strings.ToLower(head); strings.Contains(lower, "copy") && strings.Contains(lower, "from stdin") {
				var data strings.Builder
				for i++; i < len(lines) && lines[i] != `\.`; i++ {
					data.WriteString(lines[i] + "\n")
				}
				p.data = data.String()
			}
			out = append(out, p)
		}
		// A statement that ends with a command of psql: \gset, \crosstabview.
		if at := strings.LastIndex(line, ` \`); at >= 0 && regexp.MustCompile(` \\(g|crosstabview)`).MatchString(line[at:]) {
			all := text.String()
			if at := strings.LastIndex(all, ` \`); at >= 0 {
				out = append(out, piece{sql: all[:at]})
			}
			text.Reset()
		}
	}
	return out
}

// cutStatement cuts at the first semicolon outside strings, comments and
// brackets.
func cutStatement(text string) (head, rest string, ok bool) {
	nested, atomic := 0, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == ';' && nested == 0 && atomic <= 0:
			return strings.TrimSpace(text[:i]), text[i+1:], true
		case c == '(':
			nested++
		case c == ')':
			nested--
		case c == '\'':
			escapes := i > 0 && (text[i-1] == 'E' || text[i-1] == 'e')
			for i++; i < len(text) && text[i] != '\''; i++ {
				if escapes && text[i] == '\\' {
					i++
				}
			}
		case c == '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
			}
		case strings.HasPrefix(text[i:], "--"):
			for i < len(text) && text[i] != '\n' {
				i++
			}
		case strings.HasPrefix(text[i:], "/*"):
			depth := 0
			for ; i < len(text); i++ {
				if strings.HasPrefix(text[i:], "/*") {
					depth++
					i++
				} else if strings.HasPrefix(text[i:], "*/") {
					i++
					if depth--; depth == 0 {
						break
					}
				}
			}
		case c == '$':
			if tag := dollar.FindString(text[i:]); tag != "" {
				end := strings.Index(text[i+len(tag):], tag)
				if end < 0 {
					return "", "", false
				}
				i += len(tag) + end + len(tag) - 1
			}
		case wordAt(text, i, "atomic"):
			atomic++
		case atomic > 0 && wordAt(text, i, "case"):
			atomic++
		case atomic > 0 && wordAt(text, i, "end"):
			atomic--
		}
	}
	return "", "", false
}

var dollar = regexp.MustCompile(`^\$([A-Za-z_][A-Za-z_0-9]*)?\$`)

func wordAt(text string, i int, word string) bool {
	letter := func(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' }
	return len(text) >= i+len(word) && strings.EqualFold(text[i:i+len(word)], word) &&
		(i == 0 || !letter(text[i-1])) && (len(text) == i+len(word) || !letter(text[i+len(word)]))
}
