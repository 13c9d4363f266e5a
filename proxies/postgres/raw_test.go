package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// raw is a client that sends what messages it likes, in any order.
type raw struct {
	t    testing.TB
	conn net.Conn
	in   *pgproto3.Frontend
	pid  uint32
	key  []byte
}

// hijack takes the connection from under a driver that has logged in.
func hijack(t testing.TB, conn *pgx.Conn) *raw {
	t.Helper()
	h, err := conn.PgConn().Hijack()
	must(t, err)
	t.Cleanup(func() { _ = h.Conn.Close() })
	return &raw{t: t, conn: h.Conn, in: pgproto3.NewFrontend(h.Conn, io.Discard), pid: h.PID, key: h.SecretKey}
}

func (g *gateway) raw(subject string) *raw { return hijack(g.t, g.connect(subject)) }

// direct is a raw client of the target itself.
func (g *gateway) direct() *raw {
	g.t.Helper()
	conn, err := pgx.Connect(g.t.Context(), g.db.URL())
	must(g.t, err)
	return hijack(g.t, conn)
}

func encode(t testing.TB, messages ...pgproto3.FrontendMessage) []byte {
	t.Helper()
	var out []byte
	for _, m := range messages {
		var err error
		out, err = m.Encode(out)
		must(t, err)
	}
	return out
}

func (r *raw) send(messages ...pgproto3.FrontendMessage) { r.write(encode(r.t, messages...)) }

func (r *raw) write(b []byte) {
	r.t.Helper()
	_, err := r.conn.Write(b)
	must(r.t, err)
}

// next shows the next message in one line, "" at the end of the connection.
func (r *raw) next() string {
	r.t.Helper()
	_ = r.conn.SetReadDeadline(time.Now().Add(15 * time.Second))
	m, err := r.in.Receive()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		r.t.Fatal("no answer")
	case err != nil:
		return ""
	}
	return line(m)
}

// until reads up to and including the n-th ReadyForQuery, or the end.
func (r *raw) until(n int) []string {
	r.t.Helper()
	var out []string
	for n > 0 {
		l := r.next()
		out = append(out, l)
		if l == "" {
			break
		}
		if strings.HasPrefix(l, "ready") {
			n--
		}
	}
	return out
}

// do sends messages and reads as many ReadyForQuery as they ask for.
func (r *raw) do(messages ...pgproto3.FrontendMessage) []string {
	r.t.Helper()
	n := 0
	for _, m := range messages {
		switch m.(type) {
		case *pgproto3.Sync, *pgproto3.Query, *pgproto3.FunctionCall:
			n++
		}
	}
	r.send(messages...)
	return r.until(n)
}

func line(m pgproto3.BackendMessage) string {
	switch m := m.(type) {
	case *pgproto3.ReadyForQuery:
		return "ready " + string(m.TxStatus)
	case *pgproto3.ErrorResponse:
		l := fmt.Sprintf("error %s %s %s", m.Severity, m.Code, m.Message)
		if m.Routine == "regate" {
			l += " {" + m.Detail + "}"
		}
		return l
	case *pgproto3.NoticeResponse:
		return fmt.Sprintf("notice %s {%s}", m.Message, m.Detail)
	case *pgproto3.CommandComplete:
		return "complete " + string(m.CommandTag)
	case *pgproto3.DataRow:
		var values []string
		for _, v := range m.Values {
			if v == nil {
				values = append(values, "<null>")
			} else {
				values = append(values, fmt.Sprintf("%q", v))
			}
		}
		return "row " + strings.Join(values, " ")
	case *pgproto3.RowDescription:
		var names []string
		for _, f := range m.Fields {
			names = append(names, fmt.Sprintf("%s:%d:%d", f.Name, f.DataTypeOID, f.Format))
		}
		return "columns " + strings.Join(names, " ")
	case *pgproto3.ParameterDescription:
		return fmt.Sprint("parameters ", m.ParameterOIDs)
	case *pgproto3.ParameterStatus:
		return "status " + m.Name + "=" + m.Value
	case *pgproto3.NotificationResponse:
		return "notification " + m.Channel + " " + m.Payload
	case *pgproto3.CopyData:
		return fmt.Sprintf("copydata %q", m.Data)
	case *pgproto3.FunctionCallResponse:
		return fmt.Sprintf("result %q", m.Result)
	}
	return strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", m), "*pgproto3."))
}

func parse(name, sql string, types ...uint32) *pgproto3.Parse {
	return &pgproto3.Parse{Name: name, Query: sql, ParameterOIDs: types}
}

func bind(portal, statement string, values ...string) *pgproto3.Bind {
	b := &pgproto3.Bind{DestinationPortal: portal, PreparedStatement: statement}
	for _, v := range values {
		b.Parameters = append(b.Parameters, []byte(v))
	}
	return b
}

func execute(portal string, rows uint32) *pgproto3.Execute {
	return &pgproto3.Execute{Portal: portal, MaxRows: rows}
}

func describe(kind byte, name string) *pgproto3.Describe {
	return &pgproto3.Describe{ObjectType: kind, Name: name}
}

func closes(kind byte, name string) *pgproto3.Close {
	return &pgproto3.Close{ObjectType: kind, Name: name}
}

func simple(sql string) *pgproto3.Query { return &pgproto3.Query{String: sql} }

var (
	sync_ = &pgproto3.Sync{}
	flush = &pgproto3.Flush{}
)

// run is Parse, Bind and Execute of the unnamed statement.
func run(sql string, values ...string) []pgproto3.FrontendMessage {
	return []pgproto3.FrontendMessage{parse("", sql), bind("", "", values...), execute("", 0)}
}

func all(parts ...any) []pgproto3.FrontendMessage {
	var out []pgproto3.FrontendMessage
	for _, p := range parts {
		switch p := p.(type) {
		case []pgproto3.FrontendMessage:
			out = append(out, p...)
		case pgproto3.FrontendMessage:
			out = append(out, p)
		default:
			panic(fmt.Sprintf("%T", p))
		}
	}
	return out
}

// owner runs SQL on the target, past the gateway.
func (g *gateway) owner(sql string) {
	g.t.Helper()
	must(g.t, g.db.Run(context.Background(), sql))
}

// value is the one value that SQL gives on the target, past the gateway.
func (g *gateway) value(sql string) string {
	g.t.Helper()
	conn, err := pgx.Connect(context.Background(), g.db.URL())
	must(g.t, err)
	defer conn.Close(context.Background())
	rows, err := query(g.t, conn, sql)
	must(g.t, err)
	return rows[0][0]
}

// mentions reports whether any line holds the text.
func mentions(lines []string, text string) bool {
	return strings.Contains(strings.Join(lines, "\n"), text)
}

func withPolicy(rego string) option { return func(s *settings) { s.policy = rego } }

// permissive allows everything, also what is opaque or incomplete.
const permissive = `package regate.policies.test.sql

import rego.v1

allow contains {"id": "test/all"} if true
`

// masked is permissive, with the masks of testPolicy.
const masked = permissive + `
mask contains {"id": "test/email", "field": "public.customers.email", "method": "redact"} if true
mask contains {"id": "test/ssn", "field": "public.customers.ssn", "method": "null"} if true
`

func asPg(err error, to **pgconn.PgError) bool { return errors.As(err, to) }
