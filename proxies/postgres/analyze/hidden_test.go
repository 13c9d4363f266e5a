package analyze_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/regate-dev/regate/proxies/postgres/analyze"
	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

// TestHiddenCode sees what runs although no statement names it.
func TestHiddenCode(t *testing.T) {
	d := pgtest.Shared(t)
	if err := d.Run(t.Context(), `
		CREATE FUNCTION f(text) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS 'begin return true; end';
		CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS 'begin return new; end';
		CREATE FUNCTION ef() RETURNS event_trigger LANGUAGE plpgsql AS 'begin end';
		CREATE FUNCTION below(text, text) RETURNS bool LANGUAGE plpgsql AS 'begin return true; end';
		CREATE FUNCTION pair(text) RETURNS point LANGUAGE sql AS 'select point(1,2)';
		CREATE DOMAIN d AS text CHECK (f(VALUE));
		CREATE TABLE plain (a text, b text GENERATED ALWAYS AS (a || 'x') STORED);
		CREATE TABLE checked (a text CHECK (f(a)));
		CREATE TABLE domained (a d);
		CREATE TABLE defaulted (a text, b bool DEFAULT f('x'));
		CREATE TABLE indexed (a text);
		CREATE INDEX ON indexed (f(a));
		CREATE TABLE guarded (a text);
		ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
		CREATE POLICY p ON guarded USING (f(a));
		CREATE VIEW passing AS SELECT a FROM plain;
		CREATE VIEW instead AS SELECT a FROM plain;
		CREATE TRIGGER t INSTEAD OF INSERT ON instead FOR EACH ROW EXECUTE FUNCTION tf();
		CREATE VIEW ruled AS SELECT a FROM plain;
		CREATE RULE r AS ON DELETE TO ruled DO INSTEAD NOTHING;
		CREATE OPERATOR <<< (LEFTARG = text, RIGHTARG = text, FUNCTION = below);
		CREATE CAST (text AS point) WITH FUNCTION pair(text);
		CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION ef();
	`); err != nil {
		t.Fatal(err)
	}
	snap := load(t, d)
	a := analyze.New(analyze.Options{})
	for _, c := range []struct {
		sql, function string // the function that must be named; "" for none
		opaque        bool
	}{
		{"INSERT INTO plain VALUES ('x')", "", false},
		{"INSERT INTO checked VALUES ('x')", "public.f", true},
		{"SELECT * FROM checked", "", false},
		{"DELETE FROM checked", "public.f", true},
		{"INSERT INTO domained VALUES ('x')", "public.f", true},
		{"SELECT 'x'::d", "public.f", true},
		{"INSERT INTO defaulted (a) VALUES ('x')", "public.f", true},
		{"UPDATE indexed SET a = 'x'", "public.f", true},
		{"SELECT * FROM guarded", "public.f", true},
		{"INSERT INTO instead VALUES ('x')", "public.tf", true},
		{"DELETE FROM ruled", "", true},
		{"DELETE FROM passing", "", false},
		{"SELECT a <<< 'x' FROM plain", "public.below", true},
		{"SELECT a < 'x' FROM plain", "", false},
		{"SELECT 1 <<< 2", "", false},
		{"SELECT a::point FROM plain", "public.pair", true},
		{"SELECT '(1,2)'::point", "", false},
		{"CREATE TABLE x (a int)", "public.ef", true},
		{"CREATE TABLE x AS SELECT 1 AS a", "public.ef", true},
		{"CREATE TEMP TABLE x ON COMMIT DROP AS SELECT 1 AS a", "public.ef", true},
	} {
		b, err := a.Analyze(c.sql, snap, settings)
		if err != nil {
			t.Fatal(err)
		}
		s := b.Statements[0]
		if s.Facts.Action.Opaque != c.opaque || s.Complete == c.opaque {
			t.Errorf("%s: opaque %v, unknown %v", c.sql, s.Facts.Action.Opaque, s.Facts.Unknown)
		}
		if c.function != "" && !slices.Contains(s.Facts.Resource.FunctionNames, c.function) {
			t.Errorf("%s: %s is not among %v", c.sql, c.function, s.Facts.Resource.FunctionNames)
		}
		if strings.Contains(c.sql, "passing") {
			if access := s.Facts.Resource.Tables["public.plain"].Access; !slices.Contains(access, "delete") {
				t.Errorf("%s: the table below has %v", c.sql, access)
			}
		}
		if strings.Contains(c.sql, "ON COMMIT") && !s.Effects.MayCreateTemp {
			t.Errorf("%s: certain of a table that goes at COMMIT", c.sql)
		}
	}
	b, err := a.Analyze("SELECT b FROM plain", snap, settings)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.Statements[0].Outputs[0]; !slices.Contains(got.Sources, "public.plain.a") || got.Derivation != "derived" {
		t.Errorf("a generated column: %+v", got)
	}
}
