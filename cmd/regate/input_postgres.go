package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/config"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/postgres"
	"github.com/regate-dev/regate/proxies/postgres/analyze"
	"github.com/regate-dev/regate/proxies/postgres/catalog"
	"github.com/regate-dev/regate/proxies/postgres/upstream"
)

func newInputPostgresCmd() *cobra.Command {
	c := &inputPostgres{}
	cmd := &cobra.Command{
		Use:   "postgres [SQL]",
		Short: "Print the input documents of SQL",
		Long: `Print one input document for each statement of the SQL, which is taken as what
one Query message of a new session holds. It is read from a file with -f, or
from standard input where there is neither.

Names are resolved against a catalogue: that of a live database (--catalog with
a connection string, or -c with a target of the configuration), or a file that
--dump-catalog wrote. Without one the documents say complete: false, as the
gateway's would if it did not know the schema.

With --params the SQL is one prepared statement: a JSON array with its values, of
strings, numbers, booleans, null, or objects {"type": "int4", "value": "7"}.`,
		Example: `  regate input postgres 'SELECT * FROM orders' --catalog postgres://localhost/shop
  regate input postgres --dump-catalog shop.json --catalog postgres://localhost/shop
  regate input postgres 'UPDATE orders SET paid = true' --catalog shop.json --group analysts
  regate input postgres -c regate.yaml --target shop --claims claims.json -f migration.sql -o jsonl
  regate input postgres 'SELECT * FROM t WHERE id = $1' --params '[7]' --catalog shop.json
  regate input postgres 'DELETE FROM orders' --as-test --package regate.policies.acme.sql`,
		Args: wantAtMostOne("SQL"),
		RunE: c.run,
	}
	c.who.add(cmd)
	c.printer.add(cmd)
	f := cmd.Flags()
	f.StringVarP(&c.file, "file", "f", "", "read the SQL from this file, - for standard input")
	f.StringVar(&c.catalog, "catalog", "", "connection string of the database, or a file made with --dump-catalog")
	f.StringVar(&c.dump, "dump-catalog", "", "write the catalogue to this file and print no document")
	f.StringVar(&c.params, "params", "", "JSON array with the values of a prepared statement's parameters")
	f.StringToStringVar(&c.set, "set", nil, "a setting of the session: search_path=a,b")
	f.StringVar(&c.database, "database", "", "the database that the agent asks for")
	f.StringVar(&c.role, "role", "", "the database role that the agent acts as")
	f.BoolVar(&c.connect, "connect", false, "print the document of the connection (stage session) first")
	f.BoolVar(&c.ast, "ast", false, "with the syntax tree, as when a policy reads input.sql.ast")
	return cmd
}

// inputPostgres is one call of the command.
type inputPostgres struct {
	who     whoFlags
	printer inputPrinter

	file, catalog, dump, params, database, role string
	set                                         map[string]string
	connect, ast                                bool
}

// catalogTimeout bounds the reading of a live catalogue.
const catalogTimeout = time.Minute

func (c *inputPostgres) run(cmd *cobra.Command, args []string) error {
	if err := c.check(args); err != nil {
		return err
	}
	now, err := c.who.now()
	if err != nil {
		return err
	}
	c.who.secrets = c.catalog == ""
	cfg, err := c.who.load()
	if err != nil {
		return err
	}
	target, options, err := c.targetOf(cmd, cfg)
	if err != nil {
		return err
	}
	id, err := c.who.identity(cmd, cfg, now)
	if err != nil {
		return err
	}
	role, err := target.RoleOf(id)
	if err != nil {
		return fmt.Errorf("the gateway would refuse the connection: %w", err)
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), catalogTimeout)
	defer cancel()
	view, err := c.view(ctx, cfg, target, role)
	if err != nil {
		return err
	}
	if c.dump != "" {
		return c.dumpCatalog(cmd, view)
	}
	database := c.database
	if database == "" && view.Catalog != nil {
		database = view.Catalog.Database
	}
	preview, err := postgres.NewPreview(postgres.PreviewConfig{
		Target: target, Identity: id, Database: database, View: view, AST: c.ast, Analyze: options, Now: now,
		Client: postgres.Client{Address: c.who.address, Application: c.who.application, TLS: c.who.tls, Asserted: c.who.asserted},
	})
	if err != nil {
		return err
	}
	docs, err := c.documents(cmd, args, preview)
	if err != nil {
		return err
	}
	return c.printer.print(cmd, docs)
}

func (c *inputPostgres) check(args []string) error {
	if err := c.printer.check(); err != nil {
		return err
	}
	if c.who.claims == "-" && len(args) == 0 && (c.file == "" || c.file == "-") && !c.connect {
		return &usageError{errors.New("the SQL and the claims cannot both come from standard input")}
	}
	for name := range c.set {
		if !strings.EqualFold(name, "search_path") {
			return &usageError{fmt.Errorf("--set %s: of a session's settings, only search_path changes what a policy sees", name)}
		}
	}
	return nil
}

// targetOf is the target, of the configuration or as the flags say.
func (c *inputPostgres) targetOf(cmd *cobra.Command, cfg *config.Config) (*postgres.Target, analyze.Options, error) {
	if cfg == nil {
		return &postgres.Target{
			Name: c.who.target, Labels: c.who.labels, Role: postgres.Role{Name: c.role},
			Upstream: upstream.Target{Database: c.database, User: "regate"},
		}, analyze.Options{}, nil
	}
	for _, name := range []string{"label", "role"} {
		if cmd.Flags().Changed(name) {
			return nil, analyze.Options{}, &usageError{fmt.Errorf("--%s and -c say the same thing: leave one out", name)}
		}
	}
	found, err := c.who.configured(cmd, cfg, input.Postgres)
	if err != nil {
		return nil, analyze.Options{}, err
	}
	if !c.who.secrets {
		found.TLS = config.ClientTLS{Mode: config.TLSDisable} // nobody logs in
	}
	target, err := postgresTarget(found)
	if err != nil {
		return nil, analyze.Options{}, err
	}
	return &target, analyzeOptions(cfg), nil
}

// view finds what names mean.
func (c *inputPostgres) view(ctx context.Context, cfg *config.Config, target *postgres.Target, role string) (postgres.View, error) {
	path := ""
	for _, value := range c.set {
		path = value
	}
	switch {
	case c.catalog == "" && cfg == nil:
		if c.dump != "" {
			return postgres.View{}, &usageError{errors.New("--dump-catalog needs a database: --catalog with a connection string, or -c")}
		}
		return postgres.View{}.WithSearchPath(path)
	case c.catalog == "":
		return target.View(ctx, c.database, role, path)
	case isConnectionString(c.catalog):
		conn, err := pgx.Connect(ctx, c.catalog)
		if err != nil {
			return postgres.View{}, withoutPassword(err)
		}
		defer conn.Close(context.WithoutCancel(ctx))
		return postgres.ReadView(ctx, conn, role, path)
	}
	f, err := os.Open(c.catalog)
	if err != nil {
		return postgres.View{}, fmt.Errorf("the catalogue: %w", err)
	}
	defer f.Close()
	snapshot, by, err := catalog.ReadDump(f)
	if err != nil {
		return postgres.View{}, fmt.Errorf("%s: %w", c.catalog, err)
	}
	view := postgres.View{Catalog: snapshot, User: by.User, SearchPath: by.SearchPath}
	if role != "" {
		view.User = role
	}
	if path == "" {
		return view, nil
	}
	return view.WithSearchPath(path)
}

// isConnectionString tells a database from a file: a URL, or key=value words.
func isConnectionString(s string) bool {
	if strings.HasPrefix(s, "postgres://") || strings.HasPrefix(s, "postgresql://") {
		return true
	}
	_, err := os.Stat(s)
	return err != nil && strings.Contains(s, "=")
}

// withoutPassword is the error of a connection. pgx takes passwords out of
// connection strings that it can read; one that it cannot is not shown.
func withoutPassword(err error) error {
	var bad *pgconn.ParseConfigError
	if errors.As(err, &bad) {
		return &usageError{errors.New("--catalog is neither a file nor a connection string, as in postgres://user@localhost:5432/shop")}
	}
	return fmt.Errorf("the catalogue: %w", err)
}

func (c *inputPostgres) dumpCatalog(cmd *cobra.Command, view postgres.View) error {
	err := writeWhole(c.dump, func(f *os.File) error {
		return view.Catalog.WriteDump(f, catalog.Session{User: view.User, SearchPath: view.SearchPath})
	})
	if err != nil {
		return fmt.Errorf("write the catalogue: %w", err)
	}
	_, err = fmt.Fprintf(cmd.ErrOrStderr(), "%s: the catalogue of database %s, PostgreSQL %s, %s\n", plainText(c.dump),
		plainText(view.Catalog.Database), plainText(view.Catalog.ServerVersion), counted(int64(view.Catalog.RelationCount()), "relation"))
	return err
}

// writeWhole writes a file that is there as a whole or not at all.
func writeWhole(name string, write func(*os.File) error) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), ".regate-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	err = write(tmp)
	if err = errors.Join(err, tmp.Chmod(0o644), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), name)
}

// maxSQL is the longest text that is read, in bytes: the longest message that
// a gateway takes by default.
const maxSQL = 16 << 20

func (c *inputPostgres) sql(cmd *cobra.Command, args []string) (string, error) {
	if len(args) == 1 {
		if c.file != "" {
			return "", &usageError{errors.New("the SQL is given twice: as an argument and with -f")}
		}
		return args[0], nil
	}
	name := c.file
	if name == "" {
		name = "-"
	}
	raw, err := readBounded(name, cmd.InOrStdin(), maxSQL)
	if err != nil {
		return "", fmt.Errorf("read the SQL: %w", err)
	}
	return string(raw), nil
}

// documents are those of the SQL, and of the connection before it where it is
// asked for.
func (c *inputPostgres) documents(cmd *cobra.Command, args []string, preview *postgres.Preview) ([]inputDocument, error) {
	var docs []inputDocument
	if c.connect {
		doc, err := documentOf("connect", "", preview.Open())
		if err != nil {
			return nil, err
		}
		docs = append(docs, doc)
		if len(args) == 0 && c.file == "" {
			return docs, nil
		}
	}
	text, err := c.sql(cmd, args)
	if err != nil {
		return nil, err
	}
	previewed, err := c.preview(preview, text)
	var denial *engine.Denial
	if errors.As(err, &denial) {
		return nil, fmt.Errorf("the gateway refuses this without asking a policy: %w. %s", denial, denial.Hint)
	}
	if err != nil {
		return nil, err
	}
	if len(previewed) == 0 {
		return nil, errors.New("there is no statement in this: an empty query is forwarded without asking a policy")
	}
	for _, p := range previewed {
		doc, err := documentOf("", p.Text, p.Document)
		if err != nil {
			return nil, err
		}
		doc.refused = p.Refused
		docs = append(docs, doc)
	}
	return docs, nil
}

func (c *inputPostgres) preview(preview *postgres.Preview, text string) ([]postgres.Previewed, error) {
	if c.params == "" {
		return preview.Query(text)
	}
	values, err := arguments(c.params)
	if err != nil {
		return nil, &usageError{fmt.Errorf("--params: %w", err)}
	}
	one, err := preview.Bound(text, values)
	if err != nil || one == nil {
		return nil, err
	}
	return []postgres.Previewed{*one}, nil
}

// documentOf makes a document ready to be printed. Its name, where none is
// given, is its verb and what that is done to.
func documentOf(name, text string, doc *input.Document) (inputDocument, error) {
	raw, err := doc.MarshalJSON()
	if err != nil {
		return inputDocument{}, err
	}
	if name == "" {
		name = documentName(raw)
	}
	return inputDocument{name: name, text: text, json: raw}, nil
}

// documentName is what a test of the document is called.
func documentName(doc []byte) string {
	var d struct {
		Protocol string `json:"protocol"`
		Action   struct {
			Verb string `json:"verb"`
		} `json:"action"`
		Resource struct {
			Names []string `json:"names"`
		} `json:"resource"`
	}
	if json.Unmarshal(doc, &d) != nil {
		return "request"
	}
	words := []string{d.Action.Verb}
	if d.Action.Verb == "" {
		words[0] = d.Protocol
	}
	for _, n := range d.Resource.Names[:min(len(d.Resource.Names), 2)] {
		words = append(words, strings.TrimPrefix(n, "public."))
	}
	return strings.Join(words, " ")
}

// arguments reads the values of --params.
func arguments(text string) ([]postgres.Argument, error) {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var list []any
	if err := dec.Decode(&list); err != nil || dec.More() {
		return nil, errors.New(`want a JSON array, as in '[7, "x", null]'`)
	}
	out := make([]postgres.Argument, 0, len(list))
	for i, v := range list {
		var a postgres.Argument
		if typed, ok := v.(map[string]any); ok {
			name, isText := typed["type"].(string)
			value, there := typed["value"]
			if !isText || !there || len(typed) != 2 {
				return nil, fmt.Errorf(`parameter %d: an object has "type" and "value" and nothing else`, i+1)
			}
			a.Type, v = name, value
		}
		switch v := v.(type) {
		case nil:
		case string:
			a.Value = &v
		case json.Number:
			s := v.String()
			a.Value = &s
		case bool:
			s := "f"
			if v {
				s = "t"
			}
			a.Value = &s
		default:
			return nil, fmt.Errorf("parameter %d is neither text, number, boolean nor null", i+1)
		}
		out = append(out, a)
	}
	return out, nil
}

// wantAtMostOne refuses more than one argument, called what.
func wantAtMostOne(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > 1 {
			return &usageError{fmt.Errorf("one %s is wanted, not %d arguments: quote it", what, len(args))}
		}
		return nil
	}
}
