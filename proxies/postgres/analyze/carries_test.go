package analyze_test

import (
	"slices"
	"testing"

	"github.com/regate-dev/regate/proxies/postgres/analyze"
	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

// TestCarriers: a function that takes values to where no mask follows them is
// opaque, unless what it is given cannot be stored data.
func TestCarriers(t *testing.T) {
	d := pgtest.Shared(t)
	if err := d.Run(t.Context(), `
		CREATE TABLE c (id int, email text);
		CREATE VIEW v AS SELECT id, pg_notify('ch', email) IS NULL AS n FROM c;
		CREATE OPERATOR !!> (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_catalog.pg_notify);
	`); err != nil {
		t.Fatal(err)
	}
	snap := load(t, d)
	a := analyze.New(analyze.Options{})
	for sql, opaque := range map[string]bool{
		"SELECT pg_notify('ch', 'x')":                                              false,
		"SELECT pg_notify('ch', $1)":                                               false,
		"SELECT pg_notify('ch', $1 || now()::text)":                                false,
		"SELECT lo_from_bytea(0, 'abc')":                                           false,
		"SELECT pg_notify('ch', email) FROM c":                                     true,
		"SELECT pg_notify(email, '') FROM c":                                       true,
		"SELECT pg_catalog.pg_notify('ch', reverse(email)) FROM c":                 true,
		"SELECT pg_notify('ch', (SELECT max(email) FROM c))":                       true,
		"SELECT pg_notify('ch', v::text) FROM c v":                                 true,
		"SELECT pg_notify('ch', current_setting('x.y'))":                           true,
		"SELECT * FROM c, LATERAL pg_notify('ch', email)":                          true,
		"WITH n AS (SELECT pg_notify('ch', email) FROM c) SELECT FROM n":           true,
		"UPDATE c SET id = id WHERE id > 0 AND pg_notify('ch', email) IS NOT NULL": true,
		"DELETE FROM c RETURNING pg_notify('ch', email)":                           true,
		"SELECT lo_from_bytea(0, email::bytea) FROM c":                             true,
		"SELECT lo_put(1, 0, email::bytea) FROM c":                                 true,
		"SELECT 'ch' !!> email FROM c":                                             true,
		"ALTER TABLE c ADD CHECK (pg_notify('ch', email) IS NOT NULL)":             true,
		"CREATE TABLE n (a text CHECK (pg_notify('ch', a) IS NOT NULL))":           true,
		"CREATE TRIGGER t BEFORE UPDATE ON c FOR EACH ROW WHEN (pg_notify('ch', NEW.email) IS NOT NULL) EXECUTE FUNCTION suppress_redundant_updates_trigger()": true,
		"CREATE POLICY p ON c USING (pg_notify('ch', email) IS NOT NULL)":                                                                                      true,
		"CREATE RULE r AS ON INSERT TO c DO ALSO SELECT pg_notify('ch', NEW.email)":                                                                            true,
		"CREATE DOMAIN d AS text CHECK (pg_notify('ch', VALUE) IS NOT NULL)":                                                                                   true,
		"ALTER TABLE c ALTER id TYPE text USING pg_notify('ch', email)::text":                                                                                  true,
		"CREATE VIEW w AS SELECT pg_notify('ch', email) IS NULL AS n FROM c":                                                                                   true,
		"SELECT * FROM v": true,
	} {
		b, err := a.Analyze(sql, snap, settings)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		s := b.Statements[0]
		if s.Facts.Action.Opaque != opaque || s.Complete == opaque || !s.Facts.Action.Writes {
			t.Errorf("%s: opaque %v, writes %v, unknown %v", sql, s.Facts.Action.Opaque, s.Facts.Action.Writes, s.Facts.Unknown)
		}
	}
	// However it is written, what sets a parameter is seen.
	database := snap.Database
	for _, sql := range []string{
		"SELECT set_config('role', 'none', false)", "SELECT pg_catalog.set_config('role', 'none', false)",
		"SELECT \"" + database + "\".pg_catalog.set_config('role', 'none', false)",
	} {
		b, err := a.Analyze(sql, snap, settings)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		if s := b.Statements[0]; !slices.Contains(s.Facts.Resource.SettingNames, "role") || !s.Effects.SettingsChange {
			t.Errorf("%s: %+v", sql, s.Facts.Resource.SettingNames)
		}
	}
	for _, sql := range []string{"SELECT pg_notify('ch', 'x')", "NOTIFY ch, 'x'", "SELECT \"" + database + "\".pg_catalog.pg_notify('ch', 'x')"} {
		b, err := a.Analyze(sql, snap, settings)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		if s := b.Statements[0]; s.Facts.Action.Verb != "notify" || !s.Facts.Action.Writes {
			t.Errorf("%s: %+v", sql, s.Facts.Action)
		}
	}
}
