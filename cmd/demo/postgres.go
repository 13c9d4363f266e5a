package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

// postgresShow is an agent that works with a database.
type postgresShow struct {
	*stage
	cluster  *pgtest.Cluster
	proxy    string // host:port
	database string // the gateway's own password

	token  string
	client *client
	first  string // the approval id of the first UPDATE
}

// The people of the show.
const (
	agent    = "shop-agent" // an AI agent that analyses the shop
	approver = "carol"      // a database administrator
	operator = "oscar"      // operates the gateway
)

func (p *postgresShow) people() []person {
	return []person{
		{agent, "analysts", []string{"approver"}}, // not of its own requests, as will be seen
		{approver, "dba", []string{"viewer", "approver"}},
		{operator, "operators", []string{"viewer", "auditor", "operator"}},
	}
}

// customer is a row of the shop; the mask of its e-mail address and card is
// what the demo's policy asks for.
type customer struct {
	id                      int
	name, email, card       string
	plan                    string
	maskedEmail, maskedCard string
}

var customers = []customer{
	{1, "Ann Example", "ann.example@example.com", "4111111111111111", "pro", "a***@example.com", "***1111"},
	{2, "Björn Muster", "bjorn@muster.example", "5555555555554444", "free", "b***@muster.example", "***4444"},
	{3, "Chen 陳", "chen@shop.example", "378282246310005", "free", "c***@shop.example", "***0005"},
}

// databaseEnv is the environment variable of the gateway's own password.
const databaseEnv = "SHOP_DATABASE_PASSWORD"

// open starts PostgreSQL, loads the shop and makes the gateway's login.
func (p *postgresShow) open(ctx context.Context, s *stage) error {
	p.stage, p.database = s, rand.Text()
	var err error
	if p.proxy, err = freeAddress(); err != nil {
		return err
	}
	if p.cluster, err = pgtest.Start(ctx, pgtest.Options{Dir: s.path("postgres"), TLS: true}); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	if err := p.cluster.Exec(ctx, "postgres", "CREATE DATABASE shop"); err != nil {
		return fmt.Errorf("make the shop: %w", err)
	}
	var sql strings.Builder
	sql.WriteString(`
		CREATE TABLE customers (
			id     integer PRIMARY KEY,
			name   text NOT NULL,
			email  text NOT NULL UNIQUE,
			card   text NOT NULL,
			plan   text NOT NULL,
			credit integer NOT NULL DEFAULT 0
		);
		CREATE TABLE orders (
			id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
			customer_id integer NOT NULL REFERENCES customers,
			item        text NOT NULL,
			price       numeric(10,2) NOT NULL
		);`)
	for _, c := range customers {
		fmt.Fprintf(&sql, "INSERT INTO customers VALUES (%d, '%s', '%s', '%s', '%s');\n", c.id, c.name, c.email, c.card, c.plan)
		fmt.Fprintf(&sql, "INSERT INTO orders (customer_id, item, price) VALUES (%d, 'keyboard', 49.90), (%d, 'screen', 199.00);\n", c.id, c.id)
	}
	fmt.Fprintf(&sql, "CREATE ROLE regate LOGIN PASSWORD '%s'; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO regate;", p.database)
	if err := p.cluster.Exec(ctx, "shop", sql.String()); err != nil {
		return fmt.Errorf("fill the shop: %w", err)
	}
	return nil
}

// packs are the ready policies that the demo uses beside its own.
var packs = []string{"lib", "postgres/complete", "postgres/where_required", "postgres/no_destructive_ddl", "postgres/pii_masks", "postgres/masked_copies", "postgres/row_limits", "postgres/prod_writes"}

func (p *postgresShow) bundles() []string {
	return append([]string{"bundles/demo"}, prefixed("policies/", packs)...)
}

func (p *postgresShow) env() []string { return []string{databaseEnv + "=" + p.database} }

func (p *postgresShow) config() (string, error) {
	return fmt.Sprintf(`postgres:
  listeners:
    - address: %q
targets:
  - name: shop
    labels: {env: prod}
    address: "%s:%d"
    database: shop
    user: regate
    password: env:%s
    tls: {mode: verify-full, ca_file: %q}
`, p.proxy, p.cluster.Host, p.cluster.Port, databaseEnv, p.cluster.CAFile), nil
}

func (p *postgresShow) intro() {
	p.out.line(p.out.paint(bold, "regate") + " stands between an agent and a database. Everything below is real:")
	p.out.say("database  PostgreSQL on %s:%d, which knows nothing of regate", p.cluster.Host, p.cluster.Port)
	p.out.say("identity  OpenID Connect issuer at %s", p.issuerURL)
	p.out.say("gateway   %s, policies from bundles/demo, configuration in %s", p.proxy, p.shown("regate.yaml"))
}

// dsn is the connection string of the agent's driver, without the password.
func (p *postgresShow) dsn() *url.URL {
	return &url.URL{Scheme: "postgres", User: url.User(agent), Host: p.proxy, Path: "/shop", RawQuery: "sslmode=disable"}
}

func (p *postgresShow) invite() {
	host, port, _ := net.SplitHostPort(p.proxy)
	regate := p.command()
	p.out.line(fmt.Sprintf("  PGPASSWORD=$(%s token --no-cache --profile %s) psql \"host=%s port=%s user=%s dbname=shop sslmode=disable\"", regate, agent, host, port, agent))
	p.out.line(fmt.Sprintf("  %s approvals list --profile %s", regate, approver))
	p.out.line(fmt.Sprintf("  %s sessions list", regate))
}

func (p *postgresShow) close(ctx context.Context) error {
	if p.client != nil {
		_ = p.client.Close(ctx)
	}
	if p.cluster == nil {
		return nil
	}
	return p.cluster.Stop()
}

func prefixed(prefix string, names []string) []string {
	var list []string
	for _, n := range names {
		list = append(list, prefix+n)
	}
	return list
}
