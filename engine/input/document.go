package input

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Schema is the value of the document's `schema` key.
const Schema = "regate.input/v1"

// Protocol names a wire protocol.
type Protocol string

// The protocols that have a schema here.
const (
	HTTP       Protocol = "http"
	Kubernetes Protocol = "kubernetes"
	MCP        Protocol = "mcp"
	Postgres   Protocol = "postgres"
)

// Stage says what is being decided.
type Stage string

// The three stages of a session.
const (
	StageSession  Stage = "session"  // an agent connects
	StageRequest  Stage = "request"  // one statement, API call, route or tool call
	StageResponse Stage = "response" // one result set or body, by its fields
)

// Document is one input document. Field comments give the JSON path.
type Document struct {
	Protocol   Protocol   // protocol
	Stage      Stage      // stage
	Time       time.Time  // time: the engine's clock, RFC 3339 in UTC
	Request    Request    // request
	Subject    *Part      // subject: Principal
	Actor      *Part      // actor: Principal or null
	Asserted   *Part      // asserted: Asserted
	Session    Session    // session
	Target     *Part      // target: Target
	Action     *Part      // action: the protocol's action, for SQL SQLAction
	Resource   *Part      // resource: the protocol's resource, for SQL SQLResource
	Unknown    *Part      // unknown: []Unknown; complete is true when it is empty
	Complete   bool       // complete
	Approvals  []Approval // approvals
	Enforcer   *Part      // enforcer: Enforcer
	Detail     *Part      // <protocol's own key>: for SQL SQL
	Parameters *Part      // parameters: []Parameter, the values bound to this call
	Response   *Part      // response: Response, null before the response stage
	Usage      *Spent     // usage: nil is null: no policy reads it, or it is not known
}

// Request names the request. Digest covers all that an approval is bound to.
type Request struct {
	ID     string `json:"id"`
	Digest string `json:"digest"`
}

// Principal is a verified identity: whose authority (subject) or who acts for
// them (actor). Every field comes from a verified token.
type Principal struct {
	ID        string         `json:"id"`         // claim sub
	Issuer    string         `json:"issuer"`     // claim iss
	ClientID  string         `json:"client_id"`  // "" where the token names none
	Groups    []string       `json:"groups"`     // by the issuer's claim mapping
	Scopes    []string       `json:"scopes"`     // by the issuer's claim mapping
	Claims    map[string]any `json:"claims"`     // every claim of the token, as issued
	ExpiresAt string         `json:"expires_at"` // RFC 3339, UTC
}

// Asserted is what the agent says of itself. It is never verified.
type Asserted struct {
	Purpose string `json:"purpose"`
	Ticket  string `json:"ticket"`
	Task    string `json:"task"`
	Step    string `json:"step"`
}

// Session is the agent's connection and what it has used so far.
type Session struct {
	ID        string   `json:"id"`
	StartedAt string   `json:"started_at"` // RFC 3339, UTC
	Client    Client   `json:"client"`
	Labels    []string `json:"labels"`
	Usage     Usage    `json:"usage"`
}

// Client is the agent's end of the connection.
type Client struct {
	Address     string `json:"address"`     // IP and port
	Application string `json:"application"` // as the client says, never verified
	TLS         bool   `json:"tls"`
}

// Usage counts what the session did before this request.
type Usage struct {
	Requests int64 `json:"requests"`
	Rows     int64 `json:"rows"`
	Bytes    int64 `json:"bytes"`
	Denials  int64 `json:"denials"`
}

// Target is what the agent connects to.
type Target struct {
	Name     string            `json:"name"`
	Protocol Protocol          `json:"protocol"`
	Labels   map[string]string `json:"labels"`
	Database string            `json:"database"`
	Role     string            `json:"role"`    // the role that regate logs in as
	Version  string            `json:"version"` // the server's own version, "unknown" before it is known
}

// Unknown is one thing that a proxy could not resolve.
type Unknown struct {
	What string `json:"what"` // e.g. relation:"x", function:"f", statement
	Why  string `json:"why"`  // stable words, e.g. "not in catalogue"
}

// Approval is one person's approval of this exact request.
type Approval struct {
	ID        string   `json:"id"`
	By        Approver `json:"by"`
	At        string   `json:"at"`         // RFC 3339, UTC
	ExpiresAt string   `json:"expires_at"` // RFC 3339, UTC
}

// Approver is who approved.
type Approver struct {
	ID     string   `json:"id"`
	Issuer string   `json:"issuer"`
	Groups []string `json:"groups"`
}

// Enforcer says what the proxy can carry out for this request: obligation
// types, e.g. "mask", "limit", "require_approval", "record", and
// "record/sealed" for a record of that level.
type Enforcer struct {
	Obligations []string `json:"obligations"`
}

// Response describes the fields of a result before any value is read.
type Response struct {
	Fields      []Field  `json:"fields"`
	FieldNames  []string `json:"field_names"`
	SourceNames []string `json:"source_names"` // every known source, sorted
}

// Derivation says how a result field came from its sources.
type Derivation string

// The derivations of a field.
const (
	Exact    Derivation = "exact"    // the value of one source column, unchanged
	Derived  Derivation = "derived"  // computed from its sources
	Constant Derivation = "constant" // from no column at all
	Opaque   Derivation = "unknown"  // from where is not known
)

// Field is one column of a result.
type Field struct {
	Name       string     `json:"name"`
	Type       string     `json:"type"`
	Sources    []string   `json:"sources"` // "schema.table.column", sorted
	Derivation Derivation `json:"derivation"`
}

// DetailKey is the document's key for the protocol's own part.
func (p Protocol) DetailKey() string {
	if p == Postgres {
		return "sql"
	}
	return string(p)
}

// Entry is one top-level key of a document and its canonical JSON.
type Entry struct {
	Key    string
	JSON   []byte
	Digest Digest
	// Part is the shared part that JSON came from; nil where the value was
	// made for this document alone.
	Part *Part
}

// Entries returns the document's top-level keys in sorted order.
func (d *Document) Entries() []Entry {
	entries, _ := d.AppendEntries(nil, nil)
	return entries
}

// AppendEntries is Entries into memory that the caller keeps: entries are
// appended to dst, and JSON that was made for this document alone to scratch.
// It is valid until either is used again.
func (d *Document) AppendEntries(dst []Entry, scratch []byte) ([]Entry, []byte) {
	first := len(dst)
	dst = slices.Grow(dst, keys)
	shared := func(key string, p *Part) {
		dst = append(dst, Entry{Key: key, JSON: p.JSON(), Digest: p.Digest(), Part: p.orNull()})
	}
	at := len(scratch)
	own := func(key string) {
		raw := scratch[at:len(scratch):len(scratch)]
		dst = append(dst, Entry{Key: key, JSON: raw, Digest: sha256.Sum256(raw)})
		at = len(scratch)
	}
	// In sorted order, but for the protocol's own key, which differs.
	shared("action", d.Action)
	shared("actor", d.Actor)
	if len(d.Approvals) > 0 {
		scratch = append(scratch, canonical(d.Approvals)...)
		own("approvals")
	} else {
		dst = append(dst, noApprovals)
	}
	shared("asserted", d.Asserted)
	if d.Complete {
		dst = append(dst, isComplete)
	} else {
		dst = append(dst, isIncomplete)
	}
	shared("enforcer", d.Enforcer)
	// Parameters are not shared: they differ from call to call.
	shared("parameters", d.Parameters.orEmpty())
	dst[len(dst)-1].Part = nil
	dst = append(dst, word("protocol", string(d.Protocol)))
	scratch = d.Request.appendJSON(scratch)
	own("request")
	shared("resource", d.Resource)
	shared("response", d.Response)
	dst = append(dst, theSchema)
	scratch = d.Session.appendJSON(scratch)
	own("session")
	dst = append(dst, word("stage", string(d.Stage)))
	shared("subject", d.Subject)
	shared("target", d.Target)
	scratch = d.Time.UTC().AppendFormat(append(scratch, '"'), time.RFC3339Nano)
	scratch = append(scratch, '"')
	own("time")
	shared("unknown", d.Unknown.orEmpty())
	if d.Usage != nil {
		scratch = d.Usage.appendJSON(scratch)
		own("usage")
	} else {
		dst = append(dst, noUsage)
	}
	detail := d.Protocol.DetailKey()
	i := first
	for i < len(dst) && dst[i].Key < detail {
		i++
	}
	dst = slices.Insert(dst, i, Entry{Key: detail, JSON: d.Detail.JSON(), Digest: d.Detail.Digest(), Part: d.Detail.orNull()})
	return dst, scratch
}

// keys is how many top-level keys a document has.
const keys = 20

// MarshalJSON writes the document in RFC 8785 canonical form.
func (d *Document) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, e := range d.Entries() {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%q:", e.Key)
		b.Write(e.JSON)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Digest is a Merkle root: the SHA-256 over, for each top-level key in sorted
// order, the key, a zero byte, and the SHA-256 of the key's canonical JSON.
func (d *Document) Digest() Digest { return Root(d.Entries()) }

// Root is the digest of the document that has the entries.
func Root(entries []Entry) Digest {
	var room [1024]byte
	b := room[:0]
	for i := range entries {
		b = append(append(b, entries[i].Key...), 0)
		b = append(b, entries[i].Digest[:]...)
	}
	return sha256.Sum256(b)
}

// The entries that take few values.
var (
	noApprovals  = constant("approvals", "[]")
	isComplete   = constant("complete", "true")
	isIncomplete = constant("complete", "false")
	theSchema    = constant("schema", `"`+Schema+`"`)
	noUsage      = constant("usage", "null")
)

// words are the entries of protocols and stages.
var words = func() map[[2]string]Entry {
	all := map[[2]string]Entry{}
	for _, p := range Protocols() {
		all[[2]string{"protocol", string(p)}] = quoted("protocol", string(p))
	}
	for _, s := range []Stage{StageSession, StageRequest, StageResponse} {
		all[[2]string{"stage", string(s)}] = quoted("stage", string(s))
	}
	return all
}()

func word(key, value string) Entry {
	if e, ok := words[[2]string{key, value}]; ok {
		return e
	}
	return quoted(key, value)
}

func quoted(key, value string) Entry { return constant(key, string(appendString(nil, value))) }

func constant(key, value string) Entry {
	return Entry{Key: key, JSON: []byte(value), Digest: sha256.Sum256([]byte(value))}
}

// canonical marshals v to its RFC 8785 form. It panics where v does not
// marshal, which the types of this package always do.
func canonical(v any) []byte {
	raw, err := json.Marshal(v)
	if err == nil {
		err = (*jsontext.Value)(&raw).Canonicalize()
	}
	if err != nil {
		panic(fmt.Sprintf("input: %T does not marshal: %v", v, err))
	}
	return raw
}
