package analyze_test

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/postgres/analyze"
)

// schema is what this test needs of a JSON Schema.
type schema struct {
	Ref                  string             `json:"$ref"`
	Enum                 []any              `json:"enum"`
	Properties           map[string]*schema `json:"properties"`
	Items                *schema            `json:"items"`
	AdditionalProperties json.RawMessage    `json:"additionalProperties"`
	AnyOf                []*schema          `json:"anyOf"`
	Defs                 map[string]*schema `json:"$defs"`
}

// strange returns where v has a value that the schema does not list, or a key
// that it does not know.
func (s *schema) strange(root *schema, at string, v any) []string {
	if name, ok := strings.CutPrefix(s.Ref, "#/$defs/"); ok {
		return root.Defs[name].strange(root, at, v)
	}
	var out []string
	for _, alternative := range s.AnyOf {
		found := alternative.strange(root, at, v)
		if len(found) == 0 {
			return nil
		}
		out = found
	}
	if s.Enum != nil && !slices.Contains(s.Enum, v) {
		out = append(out, at+": "+string(must(json.Marshal(v))))
	}
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if s.Items != nil {
				out = append(out, s.Items.strange(root, at+"[]", e)...)
			}
		}
	case map[string]any:
		var other *schema
		if len(s.AdditionalProperties) > 0 && s.AdditionalProperties[0] == '{' {
			other = &schema{}
			_ = json.Unmarshal(s.AdditionalProperties, other)
		}
		for key, e := range v {
			switch p := s.Properties[key]; {
			case p != nil:
				out = append(out, p.strange(root, at+"."+key, e)...)
			case other != nil:
				out = append(out, other.strange(root, at+".*", e)...)
			case string(s.AdditionalProperties) == "false":
				out = append(out, at+"."+key+": unknown key")
			}
		}
	}
	return out
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestInputsAreInTheSchema: policies are checked against the schema's words, so
// the analysis may give no other.
func TestInputsAreInTheSchema(t *testing.T) {
	var root schema
	if err := json.Unmarshal(input.JSONSchema(input.Postgres), &root); err != nil {
		t.Fatal(err)
	}
	if strange := root.strange(&root, "input", map[string]any{"action": map[string]any{"verb": "drpo"}}); len(strange) != 1 {
		t.Fatalf("the schema is not read: %v", strange)
	}
	_, snap := database(t)
	a := analyze.New(analyze.Options{})
	list := append(statements(t, "ordinary.sql"), statements(t, "evasion.sql")...)
	files, err := filepath.Glob(filepath.Join(corpus, "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range ar.Files {
			if f.Name == "in.sql" {
				list = append(list, strings.TrimSuffix(string(f.Data), "\n"))
			}
		}
	}
	list = append(list, everyCommand...)
	for _, sql := range list {
		batch, err := a.Analyze(sql, snap, settings)
		if err != nil {
			continue
		}
		for _, s := range batch.Statements {
			doc := map[string]any{}
			for key, part := range map[string]*input.Part{"action": s.Action, "resource": s.Resource, "sql": s.Detail, "unknown": s.Unknown} {
				if part == nil {
					continue
				}
				var v any
				if err := json.Unmarshal(part.JSON(), &v); err != nil {
					t.Fatal(err)
				}
				doc[key] = v
			}
			for _, what := range root.strange(&root, "input", doc) {
				t.Errorf("%s\n\t%s", what, sql)
			}
		}
	}
}

// everyCommand has a statement of each command that the corpora may lack.
var everyCommand = []string{
	"ALTER DATABASE shop SET work_mem = '1MB'", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO public", "ALTER DOMAIN d DROP DEFAULT",
	"ALTER EVENT TRIGGER e DISABLE", "ALTER EXTENSION hstore UPDATE", "ALTER FOREIGN DATA WRAPPER w OPTIONS (a 'b')", "ALTER FUNCTION f() STABLE",
	"ALTER OPERATOR + (int, int) OWNER TO postgres", "ALTER POLICY p ON t USING (true)", "ALTER PUBLICATION p ADD TABLE t", "ALTER ROLE r LOGIN",
	"ALTER ROLE r SET work_mem = '1MB'", "ALTER SEQUENCE s RESTART", "ALTER SERVER s OPTIONS (a 'b')", "ALTER STATISTICS s SET STATISTICS 1",
	"ALTER SUBSCRIPTION s DISABLE", "ALTER SYSTEM SET work_mem = '1MB'", "ALTER TABLE t ADD c int", "ALTER TABLE t RENAME TO u",
	"ALTER TABLE t SET SCHEMA s", "ALTER TABLESPACE t SET (seq_page_cost = 1)", "ALTER TEXT SEARCH DICTIONARY d (a = 'b')",
	"ALTER TYPE t ADD VALUE 'x'", "ALTER USER MAPPING FOR public SERVER s OPTIONS (a 'b')", "ALTER COLLATION c REFRESH VERSION", "ANALYZE", "ANALYZE t",
	"BEGIN", "START TRANSACTION READ ONLY", "CALL p()", "CHECKPOINT", "CLOSE c", "CLOSE ALL", "CLUSTER", "CLUSTER t", "COMMENT ON TABLE t IS 'x'", "COMMIT",
	"COMMIT PREPARED 'x'", "COPY t TO STDOUT", "COPY t FROM STDIN", "COPY t TO '/x'", "COPY t TO PROGRAM 'x'", "COPY (SELECT 1) TO STDOUT", "CREATE ACCESS METHOD m TYPE table HANDLER h",
	"CREATE AGGREGATE a (int) (sfunc = f, stype = int)", "CREATE CAST (int AS text) WITH INOUT", "CREATE COLLATION c (locale = 'C')", "CREATE CONVERSION c FOR 'UTF8' TO 'LATIN1' FROM f",
	"CREATE DATABASE d", "CREATE DOMAIN d AS int", "CREATE EVENT TRIGGER e ON sql_drop EXECUTE FUNCTION f()", "CREATE EXTENSION hstore", "CREATE FOREIGN DATA WRAPPER w",
	"CREATE FOREIGN TABLE t (a int) SERVER s", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE PROCEDURE f() LANGUAGE sql AS 'SELECT 1'", "CREATE INDEX i ON t (a)", "CREATE LANGUAGE l",
	"CREATE MATERIALIZED VIEW m AS SELECT 1", "CREATE OPERATOR === (leftarg = int, rightarg = int, function = f)", "CREATE OPERATOR CLASS c FOR TYPE int USING btree AS OPERATOR 1 <",
	"CREATE OPERATOR FAMILY f USING btree", "CREATE POLICY p ON t", "CREATE PUBLICATION p FOR ALL TABLES", "CREATE ROLE r", "CREATE RULE r AS ON INSERT TO t DO NOTHING",
	"CREATE SCHEMA s", "CREATE SEQUENCE s", "CREATE SERVER s FOREIGN DATA WRAPPER w", "CREATE STATISTICS s ON a, b FROM t", "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p",
	"CREATE TABLE t (a int)", "CREATE TABLE t AS SELECT 1", "CREATE TABLESPACE t LOCATION '/x'", "CREATE TEXT SEARCH CONFIGURATION c (parser = p)", "CREATE TRANSFORM FOR int LANGUAGE l (FROM SQL WITH FUNCTION f(internal))",
	"CREATE TRIGGER t BEFORE INSERT ON t EXECUTE FUNCTION f()", "CREATE TYPE t AS (a int)", "CREATE TYPE t AS ENUM ('a')", "CREATE TYPE t AS RANGE (subtype = int)", "CREATE USER MAPPING FOR public SERVER s",
	"CREATE VIEW v AS SELECT 1", "DEALLOCATE x", "DEALLOCATE ALL", "DECLARE c CURSOR FOR SELECT 1", "DELETE FROM t", "DISCARD ALL", "DISCARD TEMP", "DO 'x'", "DROP DATABASE d", "DROP TABLE t",
	"DROP OWNED BY r", "DROP ROLE r", "DROP SUBSCRIPTION s", "DROP TABLESPACE t", "DROP USER MAPPING FOR public SERVER s", "EXECUTE x", "EXPLAIN SELECT 1", "EXPLAIN ANALYZE DELETE FROM t", "FETCH c", "MOVE c",
	"GRANT SELECT ON t TO public", "GRANT a TO b", "REVOKE SELECT ON t FROM public", "REVOKE a FROM b", "IMPORT FOREIGN SCHEMA s FROM SERVER s INTO s", "INSERT INTO t VALUES (1)", "LISTEN x", "LOAD 'x'", "LOCK t",
	"MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE", "NOTIFY x", "PREPARE x AS SELECT 1", "PREPARE TRANSACTION 'x'", "REASSIGN OWNED BY a TO b", "REFRESH MATERIALIZED VIEW m", "REINDEX TABLE t",
	"REINDEX DATABASE d", "RELEASE SAVEPOINT s", "RESET ALL", "RESET work_mem", "ROLLBACK", "ROLLBACK PREPARED 'x'", "ROLLBACK TO s", "SAVEPOINT s", "SECURITY LABEL ON TABLE t IS 'x'", "SELECT 1", "SELECT 1 FOR UPDATE", "SET work_mem = 1",
	"SET CONSTRAINTS ALL DEFERRED", "SET ROLE r", "SET SESSION AUTHORIZATION r", "SET TRANSACTION READ ONLY", "SHOW work_mem", "SHOW ALL", "TABLE t", "TRUNCATE t", "UNLISTEN *", "UPDATE t SET a = 1",
	"VACUUM", "VACUUM t", "VALUES (1)",
}
