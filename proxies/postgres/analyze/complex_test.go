package analyze_test

import (
	"strings"
	"testing"

	"github.com/regate-dev/regate/proxies/postgres/analyze"
)

// TestComplex gives up on queries whose analysis would not end, keeps their
// relations, and says so.
func TestComplex(t *testing.T) {
	_, snap := database(t)
	a := analyze.New(analyze.Options{CacheBytes: -1})
	nested := func(n int, open, middle, closing string) string {
		return strings.Repeat(open, n) + middle + strings.Repeat(closing, n)
	}
	for name, sql := range map[string]string{
		"recursive": nested(40, "WITH RECURSIVE t(a, b) AS (SELECT name, email FROM customers UNION SELECT b, a FROM t, (", "SELECT 1 FROM orders", ") s) SELECT * FROM t"),
		"functions": "SELECT * FROM " + nested(100, "unnest((SELECT array_agg(x) FROM ", "orders", ")) x"),
	} {
		b, err := a.Analyze(sql, snap, settings)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		s := b.Statements[0]
		if _, ok := s.Facts.Resource.Tables["public.orders"]; !ok {
			t.Errorf("%s: orders is lost: %v", name, s.Facts.Resource.TableNames)
		}
		if name == "recursive" && s.Complete {
			t.Errorf("%s: complete", name)
		}
	}
}
