package postgres

import (
	"errors"
	"fmt"
	"time"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/postgres/analyze"
	"github.com/regate-dev/regate/proxies/postgres/catalog"
)

// Preview says what the gateway would ask policies about, for SQL that one
// message of a fresh session holds. It is the gateway's own code, from the
// analysis to the document; nothing runs and nothing is decided.
type Preview struct {
	scene   *engine.Preview
	view    View
	options analyze.Options
	target  *Target
	role    string
	ast     bool
}

// PreviewConfig is who is taken to ask what. Target and Identity are required.
type PreviewConfig struct {
	Target   *Target
	Identity *identity.Identity
	// Database is the one that the agent asks for, where the target leaves the
	// choice to it.
	Database string
	Client   Client
	View     View
	// AST puts the syntax tree into the documents, as when a policy reads it.
	AST     bool
	Analyze analyze.Options
	Now     time.Time
}

// View is what decides what names mean. The zero View knows nothing: names are
// then not resolved, and documents say so.
type View struct {
	Catalog    *catalog.Snapshot
	User       string
	SearchPath []string // current_schemas(true)
}

// NewPreview returns a preview. The error says that no role is configured for
// the identity: the gateway would not let it in.
func NewPreview(c PreviewConfig) (*Preview, error) {
	role, err := c.Target.Role.of(c.Identity)
	if err != nil {
		return nil, err
	}
	database := c.Target.Upstream.Database
	if database == "" {
		database = c.Database
	}
	version := "unknown"
	if c.View.Catalog != nil {
		version = c.View.Catalog.ServerVersion
	}
	return &Preview{
		scene: engine.NewPreview(hello(c.Target, c.Identity, database, role, version, c.Client), c.Now),
		view:  c.View, options: c.Analyze, target: c.Target, role: role, ast: c.AST,
	}, nil
}

// RoleOf returns the role that the target configures for id, "" for regate's
// own login.
func (t *Target) RoleOf(id *identity.Identity) (string, error) { return t.Role.of(id) }

// Previewed is one statement.
type Previewed struct {
	Text     string
	Document *input.Document
	// Refused is set where the gateway itself refuses the statement, whatever
	// policies say.
	Refused *engine.Denial
}

// Argument is the value of one parameter of a prepared statement.
type Argument struct {
	// Type is the name of a type in pg_catalog, or "schema.type". "" where the
	// client leaves it to the server, as most do.
	Type  string
	Value *string // in PostgreSQL's text form; nil for NULL
}

// Open is the document of stage "session": whether the agent may connect.
func (p *Preview) Open() *input.Document { return p.scene.Open() }

// Query is what one Query message amounts to: a document for each statement. An
// error that is a *engine.Denial says that the gateway refuses the text without
// asking a policy.
func (p *Preview) Query(sql string) ([]Previewed, error) {
	batch, err := p.analyze(sql, analyze.Simple)
	if err != nil {
		return nil, err
	}
	out := make([]Previewed, 0, len(batch.Statements))
	for _, st := range batch.Statements {
		out = append(out, p.statement(st, nil))
	}
	return out, nil
}

// Bound is what one statement with parameters amounts to, sent by the extended
// protocol. It returns nil for an empty query. Errors are as those of Query.
func (p *Preview) Bound(sql string, args []Argument) (*Previewed, error) {
	batch, err := p.analyze(sql, analyze.Extended)
	if err != nil {
		return nil, err
	}
	switch len(batch.Statements) {
	case 0:
		return nil, nil
	case 1:
	default:
		return nil, severalCommands()
	}
	values, err := p.values(args)
	if err != nil {
		return nil, err
	}
	out := p.statement(batch.Statements[0], values)
	return &out, nil
}

func (p *Preview) analyze(sql string, mode analyze.Mode) (*analyze.Batch, error) {
	path := nonNil(p.view.SearchPath)
	batch, err := analyze.New(p.options).Analyze(sql, p.view.Catalog, analyze.Settings{
		SearchPath: path, User: p.view.User, Mode: mode, AST: p.ast,
	})
	if err != nil {
		if denial := textDenial(err); denial != nil {
			return nil, denial
		}
		return nil, err
	}
	return batch, nil
}

func (p *Preview) statement(st *analyze.Statement, values *input.Part) Previewed {
	return Previewed{
		Text: st.Text, Document: p.scene.Request(request(st, values)),
		Refused: guard(st, p.role, p.target.Role.Allowed),
	}
}

func (p *Preview) values(args []Argument) (*input.Part, error) {
	var list []input.Parameter
	for i, a := range args {
		oid, err := p.typeOf(a.Type)
		if err != nil {
			return nil, fmt.Errorf("parameter %d: %w", i+1, err)
		}
		var raw []byte
		if a.Value != nil {
			raw = []byte(*a.Value)
		}
		list = append(list, parameter(p.view.Catalog, i+1, oid, false, a.Value == nil, raw))
	}
	if len(list) == 0 {
		return nil, nil
	}
	return input.NewParameters(list), nil
}

func (p *Preview) typeOf(name string) (catalog.OID, error) {
	if name == "" {
		return 0, nil
	}
	if p.view.Catalog == nil {
		return 0, errors.New("the type " + name + " is not known without a catalogue: leave it out, or give one")
	}
	schema, typ := splitType(name)
	if t := p.view.Catalog.Type(schema, typ); t != nil {
		return t.OID, nil
	}
	return 0, fmt.Errorf("there is no type %s.%s in the catalogue", schema, typ)
}
