package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/regate-dev/regate/proxies/postgres/catalog"
	"github.com/regate-dev/regate/proxies/postgres/upstream"
)

// View reads the catalogue of one of the target's databases and looks how names
// resolve there for role, as a session of the gateway would: by the same login
// and the same question. searchPath is the agent's own setting, "" for none.
func (t *Target) View(ctx context.Context, database, role, searchPath string) (View, error) {
	up := t.Upstream
	if up.Database == "" {
		up.Database = database
	}
	conn, err := upstream.Connect(ctx, up)
	if err != nil {
		return View{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return ReadView(ctx, conn, role, searchPath)
}

// ReadView is Target.View on a connection that is already there. It changes
// the connection's role and search path.
func ReadView(ctx context.Context, conn *pgx.Conn, role, searchPath string) (View, error) {
	snapshot, err := catalog.Load(ctx, conn)
	if err != nil {
		return View{}, err
	}
	if searchPath != "" {
		if _, err := conn.Exec(ctx, `SELECT pg_catalog.set_config('search_path', $1, false)`, searchPath); err != nil {
			return View{}, fmt.Errorf("set search_path: %w", err)
		}
	}
	if role != "" {
		if _, err := conn.Exec(ctx, `SELECT pg_catalog.set_config('role', $1, false)`, role); err != nil {
			return View{}, fmt.Errorf("take the role %q: %w", role, err)
		}
	}
	var answer string
	if err := conn.QueryRow(ctx, probe, pgx.QueryExecModeSimpleProtocol).Scan(&answer); err != nil {
		return View{}, fmt.Errorf("ask how names resolve: %w", err)
	}
	var p probed
	if err := json.Unmarshal([]byte(answer), &p); err != nil {
		return View{}, fmt.Errorf("read how names resolve: %w", err)
	}
	set := p.settings()
	return View{Catalog: snapshot, User: set.User, SearchPath: set.SearchPath}, nil
}

// WithSearchPath is the view for a session whose setting search_path is what
// the text says, as the server would read it: schemas that do not exist are
// left out, pg_temp (whose number is the session's) too, and pg_catalog comes
// first unless it is named. Rights on schemas are not looked at.
func (v View) WithSearchPath(setting string) (View, error) {
	names, err := identifiers(setting)
	if err != nil {
		return v, fmt.Errorf("search_path %q: %w", setting, err)
	}
	path := []string{}
	if !slices.Contains(names, "pg_catalog") {
		path = append(path, "pg_catalog")
	}
	for _, n := range names {
		if n == "$user" {
			n = v.User
		}
		if n != "" && n != "pg_temp" && !slices.Contains(path, n) && (v.Catalog == nil || v.Catalog.HasSchema(n)) {
			path = append(path, n)
		}
	}
	v.SearchPath = path
	return v, nil
}

// identifiers reads a list of names as PostgreSQL reads search_path: divided
// by commas, in lower case unless quoted.
func identifiers(list string) ([]string, error) {
	var out []string
	rest := strings.TrimSpace(list)
	if rest == "" {
		return nil, nil
	}
	for {
		var name string
		if quoted, ok := strings.CutPrefix(rest, `"`); ok {
			for {
				part, after, closed := strings.Cut(quoted, `"`)
				if !closed {
					return nil, errors.New(`a quote is not closed`)
				}
				name += part
				if quoted, ok = strings.CutPrefix(after, `"`); !ok {
					rest = after
					break
				}
				name += `"`
			}
		} else {
			end := strings.IndexAny(rest, ", \t\n")
			if end < 0 {
				end = len(rest)
			}
			name, rest = strings.ToLower(rest[:end]), rest[end:]
		}
		if name == "" {
			return nil, errors.New("a name is empty")
		}
		out = append(out, name)
		rest = strings.TrimSpace(rest)
		if rest == "" {
			return out, nil
		}
		after, ok := strings.CutPrefix(rest, ",")
		if !ok {
			return nil, errors.New("names are divided by commas")
		}
		rest = strings.TrimSpace(after)
	}
}

// aliases are the SQL names of types that pg_catalog has under another.
var aliases = map[string]string{
	"bigint": "int8", "integer": "int4", "int": "int4", "smallint": "int2", "boolean": "bool", "real": "float4",
	"double precision": "float8", "decimal": "numeric", "character varying": "varchar", "character": "bpchar", "char": "bpchar",
	"timestamp with time zone": "timestamptz", "timestamp without time zone": "timestamp",
	"time with time zone": "timetz", "time without time zone": "time", "bit varying": "varbit",
}

// splitType is the schema and the name of a type, as people and as input
// documents write it.
func splitType(name string) (schema, typ string) {
	array := strings.HasSuffix(name, "[]")
	name = strings.TrimSuffix(name, "[]")
	schema, typ = "pg_catalog", name
	if before, after, ok := strings.Cut(name, "."); ok {
		schema, typ = before, after
	} else if known := aliases[strings.ToLower(name)]; known != "" {
		typ = known
	}
	if array {
		typ = "_" + typ
	}
	return schema, typ
}
