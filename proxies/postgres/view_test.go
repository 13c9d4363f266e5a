package postgres_test

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/regate-dev/regate/proxies/postgres"
	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

// TestSearchPath: a setting means to a dumped catalogue what it means to the
// server.
func TestSearchPath(t *testing.T) {
	db := pgtest.Shared(t)
	must(t, db.Run(t.Context(), `CREATE SCHEMA sales; CREATE SCHEMA "My Schema"; CREATE SCHEMA "a""b"; CREATE SCHEMA `+pgtest.Superuser))
	for _, setting := range []string{
		"public", "sales, public", `"My Schema",sales`, `"a""b"`, "SALES", `"SALES"`, `"$user", public`, "no_such, public",
		"public, pg_catalog", "pg_catalog", "public, public", "  sales  ,\tpublic\n", "information_schema",
	} {
		conn, err := pgx.Connect(t.Context(), db.URL())
		must(t, err)
		live, err := postgres.ReadView(t.Context(), conn, "", setting)
		must(t, err)
		must(t, conn.Close(t.Context()))
		got, err := postgres.View{Catalog: live.Catalog, User: live.User}.WithSearchPath(setting)
		must(t, err)
		if !slices.Equal(got.SearchPath, live.SearchPath) {
			t.Errorf("%s: %q, the server says %q", setting, got.SearchPath, live.SearchPath)
		}
	}
	for _, setting := range []string{"a,,b", ",", `"open`, `a b`, `"a" "b"`, `""`, "a,"} {
		if got, err := (postgres.View{}).WithSearchPath(setting); err == nil {
			t.Errorf("%s: %q", setting, got.SearchPath)
		}
	}
	if got, err := (postgres.View{}).WithSearchPath(""); err != nil || !slices.Equal(got.SearchPath, []string{"pg_catalog"}) {
		t.Errorf("%q, %v", got.SearchPath, err)
	}
}
