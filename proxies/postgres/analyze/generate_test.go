package analyze_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/postgres/analyze"
)

// generator makes queries in which names hide, move and mix: few relations,
// few names, used for everything.
type generator struct {
	*rand.Rand
	depth int
	ctes  []string
}

var (
	genRelations = []string{"customers", "orders", "emails_seen", "parent", "child", "part", "part1", "v_cust", "v_cust_nested", "v_expr", "mv_cust", "pairs", "gen", "sa.t", "lines"}
	genNames     = []string{"customers", "orders", "c", "o", "email", "id", "name", "x", "contact", "who"}
)

func (g *generator) pick(list ...string) string { return list[g.IntN(len(list))] }

func (g *generator) name() string { return g.pick(genNames...) }

func (g *generator) relation() string {
	if len(g.ctes) > 0 && g.IntN(2) == 0 {
		return g.pick(g.ctes...)
	}
	return g.pick(genRelations...)
}

func (g *generator) alias() string {
	switch g.IntN(5) {
	case 0:
		return ""
	case 1:
		return " AS " + g.name() + "(" + g.name() + ", " + g.name() + ")"
	}
	return " AS " + g.name()
}

func (g *generator) from() string {
	g.depth++
	defer func() { g.depth-- }()
	switch n := g.IntN(12); {
	case n < 5 || g.depth > 4:
		return g.relation() + g.alias()
	case n < 7:
		return g.pick("", "LATERAL ") + "(" + g.query() + ") AS " + g.name() + g.pick("", "(x)", "(id, email)")
	case n < 9:
		return g.from() + g.pick(" JOIN ", " LEFT JOIN ", " RIGHT JOIN ", " FULL JOIN ") + g.from() + g.pick(" ON true", " USING (id)", " USING (email)", " ON "+g.expr()+" IS NULL")
	case n < 10:
		return g.from() + g.pick(" NATURAL JOIN ", " CROSS JOIN ", " NATURAL LEFT JOIN ") + g.from()
	case n < 11:
		return "(" + g.from() + " JOIN " + g.from() + " USING (id)" + g.pick("", " AS x") + ")" + g.pick("", " AS "+g.name())
	}
	return g.pick("generate_series(1, 3)", "unnest(ARRAY['a'])", "json_each_text('{}')", "all_c()", "unnest(tags)", "string_to_table(name, ',')") + g.alias()
}

func (g *generator) expr() string {
	g.depth++
	defer func() { g.depth-- }()
	switch n := g.IntN(20); {
	case n < 7 || g.depth > 5:
		return g.name()
	case n < 11:
		return g.name() + "." + g.pick("id", "email", "name", "contact", "x", "to_json", "*", "who")
	case n < 12:
		return "(" + g.name() + ")." + g.pick("email", "id", "name")
	case n < 13:
		return "(" + g.query() + ")"
	case n < 14:
		return "EXISTS (" + g.query() + ")"
	case n < 15:
		return g.pick("lower", "to_jsonb", "count", "max", "email", "name", "row_to_json") + "(" + g.expr() + ")"
	case n < 16:
		return g.expr() + g.pick("::text", "::varchar", " || 'x'", " IS NULL", " = 'x'")
	case n < 17:
		return "CASE WHEN " + g.expr() + " IS NULL THEN " + g.expr() + " END"
	case n < 18:
		return "coalesce(" + g.expr() + ", " + g.expr() + ")"
	case n < 19:
		return "row_number() OVER (ORDER BY " + g.expr() + ")"
	}
	return "ROW(" + g.expr() + ", " + g.expr() + ")"
}

func (g *generator) query() string {
	g.depth++
	known := len(g.ctes)
	defer func() { g.depth--; g.ctes = g.ctes[:known] }()
	var b strings.Builder
	if g.IntN(5) == 0 && g.depth < 4 {
		b.WriteString(g.pick("WITH ", "WITH ", "WITH RECURSIVE "))
		for i := range 1 + g.IntN(2) {
			if i > 0 {
				b.WriteString(", ")
			}
			name := g.name()
			fmt.Fprintf(&b, "%s%s AS (%s)", name, g.pick("", "", "(id)"), g.query())
			g.ctes = append(g.ctes, name)
		}
		b.WriteString(" ")
	}
	b.WriteString("SELECT ")
	b.WriteString(g.pick("", "", "", "DISTINCT "))
	for i := range 1 + g.IntN(3) {
		if i > 0 {
			b.WriteString(", ")
		}
		switch g.IntN(6) {
		case 0:
			b.WriteString("*")
		case 1:
			b.WriteString(g.expr() + " AS " + g.name())
		default:
			b.WriteString(g.expr())
		}
	}
	b.WriteString(" FROM " + g.from())
	if g.IntN(3) == 0 {
		b.WriteString(", " + g.from())
	}
	if g.IntN(3) == 0 {
		b.WriteString(" WHERE " + g.expr() + " IS NOT NULL")
	}
	if g.IntN(8) == 0 {
		b.WriteString(" ORDER BY " + g.pick("1", g.name(), g.expr()))
	}
	if g.IntN(8) == 0 && g.depth < 4 {
		return b.String() + g.pick(" UNION ", " UNION ALL ", " EXCEPT ", " INTERSECT ") + g.query()
	}
	return b.String()
}

func (g *generator) statement() string {
	switch g.IntN(8) {
	case 0:
		return "INSERT INTO emails_seen (email) " + g.query() + g.pick("", " RETURNING email, *", " ON CONFLICT (email) DO UPDATE SET hits = 1, email = excluded.email RETURNING *")
	case 1:
		return "UPDATE customers SET name = " + g.expr() + g.pick("", " FROM "+g.from()) + " WHERE " + g.expr() + " IS NULL RETURNING " + g.expr() + ", customers.name"
	case 2:
		return "DELETE FROM orders" + g.pick("", " USING "+g.from()) + " WHERE " + g.expr() + " IS NULL RETURNING " + g.expr()
	}
	return g.query()
}

// TestGeneratedAgainstServer compares random statements as TestAgainstServer
// does; most of them the server refuses, and those it takes count.
func TestGeneratedAgainstServer(t *testing.T) {
	d, snap := database(t)
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, d.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "SET statement_timeout = '5s'"); err != nil {
		t.Fatal(err)
	}
	a := analyze.New(analyze.Options{CacheBytes: -1})
	origin, reads := &counts{reasons: map[string]int{}}, &counts{}
	rows := 0
	g := &generator{Rand: rand.New(rand.NewPCG(7, uint64(seed())))}
	pg := conn.PgConn()
	for origin.statements < 40_000 && origin.compared < 1_500 && origin.wrong+reads.wrong < 20 {
		origin.statements++
		g.depth, g.ctes = 0, nil
		sql := g.statement()
		description, err := pg.Prepare(ctx, "", sql, nil)
		if err != nil {
			continue
		}
		batch, err := a.Analyze(sql, snap, settings)
		if err != nil {
			t.Errorf("%s: %v", sql, err)
			continue
		}
		s := batch.Statements[0]
		if s.Complete {
			origin.complete++
		}
		for _, u := range s.Facts.Unknown {
			origin.reasons[u.Why]++
			if u.Why == "not in scope" || u.Why == "not understood" {
				t.Errorf("%s: %v", sql, u)
			}
		}
		compareOrigin(t, snap, s, pg, description, origin)
		inTransaction(t, conn, func(pg *pgconn.PgConn) { rows += compareValues(t, s, pg, origin) })
		if origin.compared%3 == 0 {
			inTransaction(t, conn, func(pg *pgconn.PgConn) { compareReads(t, snap, s, pg, reads) })
		}
	}
	origin.log(t, "result columns")
	reads.log(t, "dependencies")
	t.Logf("%d rows looked through for values that should not be there", rows)
	if origin.compared < 400 {
		t.Error("too little was compared")
	}
}

// markers are values that the database holds in one column only.
var markers = map[string]string{
	"bob@example.com": "public.customers.email", "cy@example.com": "public.customers.email",
	"111-22-3333": "public.customers.ssn", "222-33-4444": "public.customers.ssn",
	"kid@example.com": "public.child.email", "p@example.com": "public.part1.email",
}

// compareValues runs the statement and looks for a marker in a column that is
// not said to come from where the marker is.
func compareValues(t *testing.T, s *analyze.Statement, pg *pgconn.PgConn, c *counts) int {
	t.Helper()
	if !s.OutputsKnown {
		return 0
	}
	result := pg.ExecParams(t.Context(), s.Text, nil, nil, nil, nil)
	n := 0
	for result.NextRow() {
		n++
		for i, v := range result.Values() {
			o := s.Outputs[i]
			for marker, column := range markers {
				if o.Derivation != input.Opaque && strings.Contains(string(v), marker) && !slices.Contains(o.Sources, column) {
					c.wrong++
					t.Errorf("%s\n\tcolumn %q is %q, we say %s %v", s.Text, o.Name, v, o.Derivation, o.Sources)
				}
			}
		}
	}
	_, _ = result.Close() // an error at run time is no matter here
	return n
}

// seed is that of the generated statements: GENERATE_SEED, or always the same.
func seed() int {
	n, _ := strconv.Atoi(os.Getenv("GENERATE_SEED"))
	return n
}
