package analyze

import (
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	pg_query "github.com/pganalyze/pg_query_go/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// hostile are texts made to exhaust the C parser's stack, by name.
func hostile(size int) map[string]string {
	chain := func(head, link, tail string) string {
		return head + strings.Repeat(link, size/max(1, len(link))) + tail
	}
	both := func(head, open, middle, closing, tail string) string {
		n := size / (len(open) + len(closing))
		return head + strings.Repeat(open, n) + middle + strings.Repeat(closing, n) + tail
	}
	return map[string]string{
		"plus":              chain("SELECT 1", "+1", ""),
		"concat":            chain("SELECT 'a'", "||'a'", ""),
		"cast":              chain("SELECT x", "::int", " FROM t"),
		"union":             chain("SELECT 1", " UNION ALL SELECT 1", ""),
		"union with commas": chain("SELECT 1,2", " UNION ALL SELECT 1,2", ""),
		"except":            chain("SELECT 1", " EXCEPT SELECT 1", ""),
		"cross join":        chain("SELECT 1 FROM a", " CROSS JOIN a", ""),
		"join on":           chain("SELECT 1 FROM a", " JOIN a ON x AND y", ""),
		"natural join":      chain("SELECT 1 FROM a", " NATURAL JOIN a", ""),
		"nested join":       both("SELECT 1 FROM ", "a JOIN ", "a", " ON x", ""),
		"parens":            both("SELECT ", "(", "1", ")", ""),
		"parens of sums":    both("SELECT ", "(1+", "1", ")", ""),
		"sums of parens":    both("SELECT ", "(", "1", ")+1+1", ""),
		"brackets":          both("SELECT a", "[a", "", "]", " FROM t"),
		"subscripts":        chain("SELECT a", "[1]", " FROM t"),
		"array":             both("SELECT ARRAY", "[", "1", "]", ""),
		"calls":             both("SELECT ", "f(", "1", ")", ""),
		"sub-selects":       both("", "SELECT (", "1", ")", ""),
		"from":              both("", "SELECT * FROM (", "SELECT 1", ") a", ""),
		"exists":            both("", "SELECT EXISTS (", "SELECT 1", ")", ""),
		"with":              both("", "WITH a AS (", "SELECT 1", ") SELECT 1", ""),
		"not":               chain("SELECT ", "NOT ", "true"),
		"minus":             chain("SELECT ", "- ", "1"),
		"minus with parens": both("SELECT ", "-(", "1", ")", ""),
		"tilde":             chain("SELECT ", "~ ", "1"),
		"and":               chain("SELECT true", " AND true", ""),
		"or":                chain("SELECT true", " OR true", ""),
		"and or":            chain("SELECT true", " AND x OR y", ""),
		"and in parens":     both("SELECT ", "(true AND ", "true", ")", ""),
		"collate":           chain("SELECT x", ` COLLATE "C"`, " FROM t"),
		"at time zone":      chain("SELECT x", " AT TIME ZONE 'a'", " FROM t"),
		"indirection":       chain("SELECT (x)", ".y", " FROM t"),
		"dotted":            chain("SELECT x", ".y", " FROM t"),
		"case":              both("SELECT ", "CASE WHEN true THEN 1 ELSE ", "1", " END", ""),
		"case in when":      both("SELECT ", "CASE WHEN ", "true", " THEN true END", ""),
		"between not":       chain("SELECT a", " BETWEEN b AND NOT c", ""),
		"is distinct not":   chain("SELECT a", " IS DISTINCT FROM NOT c", ""),
		"is null":           both("SELECT ", "(", "1", ") IS NULL", ""),
		"in":                both("SELECT ", "1 IN (", "1", ")", ""),
		"row":               both("SELECT ", "ROW(", "1", ")", ""),
		"operator":          chain("SELECT 1", " OPERATOR(pg_catalog.+) 1", ""),
		"like escape":       chain("SELECT ", "a LIKE ", "b"),
		"comments":          chain("SELECT 1", "/*'*/+/*'*/1", ""),
		"line comments":     chain("SELECT 1", "+--'\n1", ""),
		"escape strings":    chain("SELECT 1", `+E'\''`, ""),
		"continued escape":  chain("SELECT 1", "+E'a'\n'\\''+1+' '", ""),
		"unicode names":     chain("SELECT 1", `+U&"a'"`, ""),
		"dollar quotes":     chain("SELECT 1", "+$a$'$a$", ""),
		"quoted names":      chain("SELECT 1", `+"a'"`, ""),
		"unterminated":      chain("SELECT 1", "+1", "+'"),
		"do":                chain("DO $$ SELECT 1", "+1", " $$"),
		"explain":           chain("EXPLAIN SELECT 1", "+1", ""),
		"prepare":           chain("PREPARE p AS SELECT 1", "+1", ""),
		"wide values":       chain("INSERT INTO t VALUES (1,'a')", ",(1,'a')", ""),
		"wide list":         chain("SELECT 1", ",1", ""),
		"wide or":           chain("SELECT 1 WHERE a=1", " OR a=1", ""),
		"statements":        chain("SELECT 1", ";SELECT 1", ""),
		"interval":          chain("SELECT ", "interval ", "'1'"),
		"xml":               both("SELECT ", "xmlconcat(", "a", ")", ""),
		"grouping sets":     both("SELECT 1 GROUP BY ", "GROUPING SETS (", "a", ")", ""),
		"tablesample":       both("SELECT 1 FROM ", "(a CROSS JOIN ", "a", ")", ""),
		"lateral":           both("SELECT * FROM ", "LATERAL (SELECT * FROM ", "a", ") a", ""),
		"check":             chain("CREATE TABLE t (a int CHECK (1", "+1", " > 0))"),
		"default":           chain("ALTER TABLE t ALTER a SET DEFAULT 1", "+1", ""),
		"function body":     chain("CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1", "+1", ""),
		"schema":            chain("CREATE SCHEMA s", " CREATE TABLE t (a int)", ""),
		"types":             chain("SELECT 1::int", "[]", ""),
		"filter":            both("SELECT ", "count(*) FILTER (WHERE ", "true", ")", ""),
		"over":              both("SELECT ", "count(*) OVER (ORDER BY ", "a", ")", ""),
	}
}

// TestHostile runs texts that are made to end the process, in a process of
// their own.
func TestHostile(t *testing.T) {
	if os.Getenv("ANALYZE_HOSTILE") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestHostile$", "-test.v")
		cmd.Env = append(os.Environ(), "ANALYZE_HOSTILE=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, line := range strings.Split(string(out), "\n") {
			if strings.Contains(line, "refused") {
				t.Log(strings.TrimSpace(line))
			}
		}
		return
	}
	a := New(Options{CacheBytes: -1})
	refused, analysed := 0, 0
	for _, size := range []int{200, 1900, 4_000, 12_000, 50_000, 200_000, 1_000_000} {
		for name, sql := range hostile(size) {
			if size > 50_000 && name != "wide values" && prescan(sql, a.options) == nil {
				continue // of the same depth as at 50,000
			}
			_, err := a.Analyze(sql, nil, Settings{})
			var pe *ParseError
			switch {
			case err == nil:
				analysed++
			case errors.As(err, &pe):
				refused++
			default:
				t.Errorf("%s: %v", name, err)
			}
			if size == 1_000_000 && name == "wide values" && err != nil {
				t.Errorf("%s of %d bytes is refused: %v", name, size, err)
			}
		}
	}
	t.Logf("%d refused, %d analysed", refused, analysed)
}

// TestCommentsSideBySide holds that text is refused that the C scanner would
// read over and over, and that what people write is not.
func TestCommentsSideBySide(t *testing.T) {
	many := func(s string) string { return strings.Repeat(s, 1_000_000/len(s)) }
	refused := map[string]string{
		"nested":         strings.Repeat("/*", 200_000) + strings.Repeat("*/", 200_000) + "SELECT 1",
		"never closed":   many("/*"),
		"empty":          many("/**/") + "SELECT 1",
		"at the end":     "SELECT 1" + many("/*-*/"),
		"in a statement": "SELECT 1" + many("/**/") + "+ 1",
		"after a word":   strings.Repeat("a /**/", 1999) + many("/*="),
		"many runs":      many(strings.Repeat("/**/", 1_000) + "\n"),
	}
	for name, sql := range refused {
		var bad *ParseError
		if err := prescan(sql, New(Options{}).options); !errors.As(err, &bad) || bad.Reason != ReasonTooDeep {
			t.Errorf("%s: %v", name, err)
		}
	}
	taken := map[string]string{
		"banner":          strings.Repeat("/*"+strings.Repeat("*", 200)+"*/\n-- "+strings.Repeat("=", 200)+"\n", 2_000) + "SELECT 1",
		"a hundred":       strings.Repeat("/**/", 100) + "SELECT 1",
		"one long":        "/*" + many("*") + "*/ SELECT 1",
		"with a space":    many("/* a */ ") + "SELECT 1",
		"within a string": "SELECT '" + many("/*") + "'",
		"of a line":       "-- " + many("/*") + "\nSELECT 1",
	}
	for name, sql := range taken {
		if err := prescan(sql, New(Options{}).options); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// nodeDepth is how deep nodes lie within nodes in a parse tree.
func nodeDepth(m proto.Message) int {
	deepest := 0
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Message() == nil {
			return true
		}
		if f.IsList() {
			for i := range v.List().Len() {
				deepest = max(deepest, nodeDepth(v.List().Get(i).Message().Interface()))
			}
			return true
		}
		deepest = max(deepest, nodeDepth(v.Message().Interface()))
		return true
	})
	if _, ok := m.(*pg_query.Node); ok {
		deepest++
	}
	return deepest
}

// bound is the bound that prescan puts on a text's depth.
func bound(sql string) int {
	d := depth{max: 1 << 30}
	d.levels = append(d.levels, level{})
	s := scanner{text: sql}
	highest := 0
	for {
		t := s.next()
		if t.kind == tokenEnd {
			return highest
		}
		d.token(t)
		highest = max(highest, d.top().above+d.top().bound())
	}
}

// TestBoundIsSound makes random statements and compares the bound with how
// deep the parse tree really is.
func TestBoundIsSound(t *testing.T) {
	pieces := []string{
		"1", "a", "'x'", "f(", ")", "(", ")", "[", "]", "+", "-", "||", "::int", "NOT ", " AND ", " OR ", " BETWEEN ", " IS NULL",
		" IS DISTINCT FROM ", " UNION ALL SELECT ", " EXCEPT SELECT ", " FROM ", " JOIN ", " ON ", " CROSS JOIN ", "CASE WHEN ",
		" THEN ", " ELSE ", " END", ",", " WHERE ", "(SELECT ", " IN (", " LIKE ", ` COLLATE "C"`, " AT TIME ZONE 'x'", "ARRAY[",
		" = ", " < ", "- ", "~", ".b", "ROW(", "EXISTS (SELECT ", "count(*) FILTER (WHERE ", " OVERLAPS ", "$1", " ORDER BY ",
		" NATURAL JOIN ", "/* ' */", "E'\\''", "$q$ ( $q$", "-- (\n", `"("`, "WITH a AS (SELECT ", ") SELECT ", " USING (a)",
	}
	random := rand.New(rand.NewPCG(1, 2))
	parsed := 0
	check := func(sql string) {
		tree, err := pg_query.Parse(sql)
		if err != nil {
			return
		}
		parsed++
		for _, s := range tree.Stmts {
			if depth, limit := nodeDepth(s), 4*bound(sql)+12; depth > limit {
				t.Fatalf("%d deep, the bound is %d: %s", depth, bound(sql), sql)
			}
		}
	}
	for range 30_000 {
		var b strings.Builder
		b.WriteString("SELECT ")
		for range random.IntN(14) {
			b.WriteString(pieces[random.IntN(len(pieces))])
		}
		check(b.String())
	}
	for _, sql := range hostile(900) {
		check(sql)
	}
	// What parses in a random soup is short; repeat pairs of pieces to find
	// chains that the bound does not see.
	for range 20_000 {
		one, two, three := pieces[random.IntN(len(pieces))], pieces[random.IntN(len(pieces))], pieces[random.IntN(len(pieces))]
		link := one + two + three
		closing := ""
		for _, p := range []string{one, two, three} {
			if strings.Contains(p, "(") && strings.HasSuffix(strings.TrimSpace(p), "(") || strings.HasSuffix(p, "(SELECT ") || strings.HasSuffix(p, "(WHERE ") {
				closing += ")"
			}
			if strings.HasSuffix(p, "[") {
				closing += "]"
			}
			if strings.HasPrefix(p, "CASE") {
				closing += " THEN 1 END"
			}
		}
		for _, middle := range []string{"", "a", " SELECT a"} {
			check("SELECT a" + strings.Repeat(link, 60) + middle + strings.Repeat(closing, 60))
			check("SELECT " + strings.Repeat(link, 60) + middle + strings.Repeat(closing, 60))
		}
	}
	t.Logf("%d statements parsed", parsed)
	if parsed < 1000 {
		t.Error("too few")
	}
}

// TestScannerAgrees compares where literals and comments lie with
// PostgreSQL's own scanner. (U& literals are left out: pg_query.Scan gives
// wrong ends for them. They end as other literals do.)
func TestScannerAgrees(t *testing.T) {
	pieces := []string{
		"'", "''", "\\", "\\'", "E'", "e'", "\"", "$$", "$a$", "$", "a", "B'", "x'", "N'", "--", "/*", "*/", "\n", " ",
		"1", "1e", "+", "-", "*", "/", ";", "(", ")", ".", "$1", "::", ":", "é", "_", "\r", "\t", "\f", "UESCAPE", "1.5", "..", "=", "<>",
	}
	random := rand.New(rand.NewPCG(3, 4))
	agreed := 0
	for range 200_000 {
		var b strings.Builder
		for range random.IntN(12) {
			b.WriteString(pieces[random.IntN(len(pieces))])
		}
		sql := b.String()
		theirs, err := pg_query.Scan(sql)
		if err != nil {
			continue
		}
		agreed++
		quoted := func(start, end int) bool {
			return end > start+1 && strings.ContainsAny(sql[start:end], "'\"$")
		}
		var want, got []string
		for _, tok := range theirs.Tokens {
			if text := sql[tok.Start:tok.End]; tok.Token != pg_query.Token_SQL_COMMENT && tok.Token != pg_query.Token_C_COMMENT &&
				quoted(int(tok.Start), int(tok.End)) && tok.Token != pg_query.Token_PARAM && tok.Token != pg_query.Token_IDENT {
				want = append(want, text)
			}
		}
		s := scanner{text: sql}
		for tok := s.next(); tok.kind != tokenEnd; tok = s.next() {
			if tok.kind == tokenOther && strings.ContainsAny(sql[tok.start:tok.end], "'") {
				got = append(got, sql[tok.start:tok.end])
			}
		}
		// Compare the literals; names in double quotes are IDENT over there.
		keep := func(list []string) string {
			var only []string
			for _, l := range list {
				if i := strings.IndexAny(l, "'\"$"); i >= 0 && l[i] == '\'' {
					only = append(only, l[i:]) // N is a token of its own over there
				}
			}
			return strings.Join(only, "¦")
		}
		if keep(want) != keep(got) {
			t.Fatalf("%q: PostgreSQL sees literals %q, the scanner %q", sql, keep(want), keep(got))
		}
	}
	t.Logf("%d texts scanned alike", agreed)
}
