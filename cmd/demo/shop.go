package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

// The identities of the demo.
const (
	agent    = "shop-agent" // an AI agent that analyses the shop
	approver = "carol"      // a database administrator
	operator = "oscar"      // operates the gateway
)

var identities = []struct{ name, group string }{{agent, "analysts"}, {approver, "dba"}, {operator, "operators"}}

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

// openShop loads the shop and makes the gateway's login.
func (s *stage) openShop(ctx context.Context) error {
	if err := s.cluster.Exec(ctx, "postgres", "CREATE DATABASE shop"); err != nil {
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
	fmt.Fprintf(&sql, "CREATE ROLE regate LOGIN PASSWORD '%s'; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO regate;", s.database)
	if err := s.cluster.Exec(ctx, "shop", sql.String()); err != nil {
		return fmt.Errorf("fill the shop: %w", err)
	}
	return nil
}

// packs are the ready policies that the demo uses beside its own.
var packs = []string{"lib", "postgres/complete", "postgres/where_required", "postgres/no_destructive_ddl", "postgres/pii_masks", "postgres/masked_copies", "postgres/row_limits", "postgres/prod_writes"}

// config is the gateway's configuration.
func (s *stage) config(admin string) (string, error) {
	var paths strings.Builder
	for _, p := range append([]string{"bundles/demo"}, prefixed("policies/", packs)...) {
		abs, err := filepath.Abs(p)
		if err != nil {
			return "", fmt.Errorf("bundle: %w", err)
		}
		fmt.Fprintf(&paths, "        - %q\n", abs)
	}
	return fmt.Sprintf(`# Written by the demo.
admin:
  address: %q
  roles:
    viewer: {groups: [dba, operators]}
    approver: {groups: [dba, analysts]}
    auditor: {groups: [operators]}
    operator: {groups: [operators]}
state: {dir: %q}
record: {gateway: demo}
identity:
  issuers:
    - name: dev
      url: %q
      audiences: [regate]
      insecure_http: true
policy:
  bundles:
    - name: demo
      paths:
%spostgres:
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
`, admin, s.path("state"), s.issuerURL, paths.String(), s.proxy, s.cluster.Host, s.cluster.Port, databaseEnv, s.cluster.CAFile), nil
}

func prefixed(prefix string, names []string) []string {
	var list []string
	for _, n := range names {
		list = append(list, prefix+n)
	}
	return list
}
