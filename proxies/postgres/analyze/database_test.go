package analyze_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/regate-dev/regate/proxies/postgres/analyze"
	"github.com/regate-dev/regate/proxies/postgres/catalog"
	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

var corpus = filepath.Join("..", "..", "..", "testdata", "postgres", "analyze")

// database is a fresh database with the cases' schema, and its catalogue.
func database(t testing.TB) (*pgtest.Database, *catalog.Snapshot) {
	t.Helper()
	schema, err := os.ReadFile(filepath.Join(corpus, "schema.sql"))
	if err != nil {
		t.Fatal(err)
	}
	d := pgtest.Shared(t)
	if err := d.Run(t.Context(), string(schema)); err != nil {
		t.Fatal(err)
	}
	return d, load(t, d)
}

func load(t testing.TB, d *pgtest.Database) *catalog.Snapshot {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), d.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	snap, err := catalog.Load(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

var settings = analyze.Settings{SearchPath: []string{"pg_catalog", "public"}, User: "postgres", Mode: analyze.Simple}
