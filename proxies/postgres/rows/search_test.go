package rows

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/regate-dev/regate/engine/mask"
	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

// TestDetectWhateverType lets a real server send values of many types in both
// formats: what holds a card number or an e-mail address never leaves.
func TestDetectWhateverType(t *testing.T) {
	db := pgtest.Shared(t)
	ctx := t.Context()
	if err := db.Run(ctx, `
		CREATE EXTENSION hstore; CREATE EXTENSION citext;
		CREATE TYPE person AS (name text, mail citext, cards numeric[]);
		CREATE DOMAIN address AS text;
		CREATE TYPE mood AS ENUM ('ok', 'ann@example.com')`); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(ctx, db.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rule := Rule{Detect: detector(t, mask.KindCard, mask.KindEmail)}
	const long = `repeat('x', 20)` // makes lengths that look like digits
	for _, c := range []struct {
		expression string
		want       string // what is sent; "" is the value itself
	}{
		{`'ann@example.com'::text`, "[REDACTED:email]"},
		{`'ann@example.com'::address`, "[REDACTED:email]"},
		{`'ann@example.com'::name`, "[REDACTED:email]"},
		{`'ann@example.com'::char(30)`, "[REDACTED:email]               "},
		{`'<a>ann@example.com</a>'::xml`, "<a>[REDACTED:email]</a>"},
		{`'{"a": "ann@example.com"}'::json`, `{"a": "[REDACTED:email]"}`},
		{`'{"a": "ann\u0040example.com"}'::json`, `{"a": "[REDACTED:email]"}`},
		{`'ann@example.com'::citext`, null},
		{`'ann@example.com'::mood`, null},
		{`'ann@example.com'::bytea`, null},
		{`ARRAY['ann@example.com']`, null},
		{`ARRAY[['a', 'b'], ['c', 'ann@example.com']]`, null},
		{`ARRAY['ann@example.com'::citext]`, null},
		{`ARRAY['ann@example.com'::bytea]`, null},
		{`ARRAY['4111111111111111 ' || ` + long + ` || ` + long + `]`, null},
		{`ROW('4111111111111111 ' || ` + long + ` || ` + long + `)`, null},
		{`hstore('a', '4111111111111111 ' || ` + long + ` || ` + long + `)`, null},
		{`4111111111111111::int8`, null},
		{`4111111111111111::numeric`, null},
		{`-4111111111111111.00::numeric`, null},
		{`4111111111111111::float8`, null},
		{`ARRAY[1, 4111111111111111]::int8[]`, null},
		{`ARRAY[4111111111111111]::numeric[]`, null},
		{`int8range(4111111111111111, NULL)`, null},
		{`numrange(0, 4111111111111111)`, null},
		{`int8multirange(int8range(1, 4111111111111111))`, null},
		{`ROW(1, ROW('x', 4111111111111111))`, null},
		{`ROW('ann', 'x', ARRAY[4111111111111111])::person`, null},
		{`ARRAY[ROW('ann', 'ann@example.com', NULL)::person]`, null},
		{`ROW('{"a": "ann\u0040example.com"}'::json)`, null},
		{`hstore('mail', 'ann@example.com')`, null},
		{`to_tsvector('simple', 'ann@example.com')`, null},
		{`'$.a == "ann@example.com"'::jsonpath`, null},

		{`'hello'::text`, ""},
		{`42::int8`, ""},
		{`1.5e300::float8`, ""},
		{`'NaN'::numeric`, ""},
		{`0.000012::numeric`, ""},
		{`now()`, ""},
		{`gen_random_uuid()`, ""},
		{`ARRAY['a', NULL, 'b']`, ""},
		{`'{}'::text[]`, ""},
		{`ROW(NULL, 1, 'x')`, ""},
		{`int8range(1, 5)`, ""},
		{`'empty'::int8range`, ""},
		{`hstore('a', 'b')`, ""},
		{`point(1, 2)`, ""},
		{`'{"a": "b\n"}'::jsonb`, ""},
	} {
		for _, code := range []int16{0, 1} {
			r := conn.PgConn().ExecParams(ctx, "SELECT "+c.expression, nil, nil, nil, []int16{code})
			if !r.NextRow() {
				_, err := r.Close()
				t.Fatalf("%s: %v", c.expression, err)
			}
			oid := r.FieldDescriptions()[0].DataTypeOID
			v := append([]byte{}, r.Values()[0]...)
			if _, err := r.Close(); err != nil {
				t.Fatal(err)
			}
			want := c.want
			switch {
			case want == "":
				want = string(v)
			}
			if got := one(t, Column{TypeOID: oid, Binary: code == 1, Rule: rule}, string(v)); got != want {
				t.Errorf("format %d of %s (type %d): %q, want %q", code, c.expression, oid, got, want)
			}
		}
	}
}

func FuzzSearch(f *testing.F) {
	f.Add(uint32(oidNumeric), []byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Add(uint32(1009), []byte{0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 25, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 'x'})
	f.Add(uint32(oidRecord), []byte{0, 0, 0, 1, 0, 0, 0, 25, 0, 0, 0, 1, 'x'})
	f.Add(uint32(oidInt8Multi), []byte{0, 0, 0, 1, 0, 0, 0, 5, 2, 0, 0, 0, 0})
	rule := Rule{Detect: detector(f, mask.KindCard, mask.KindEmail)}
	f.Fuzz(func(t *testing.T, oid uint32, v []byte) {
		for _, binary := range []bool{false, true} {
			s := borrow()
			rule.finds(s, oid, v, binary)
			s.release()
		}
	})
}
