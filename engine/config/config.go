package config

import (
	"path"
	"slices"
	"time"
)

// Config is the whole effective configuration. It is complete (defaults are
// filled in), its secrets are resolved and its paths are absolute or relative
// to the working directory. Treat it as immutable: nothing writes to it after
// Load.
//
// The struct tags are the schema: `key` is the name in YAML, `default` the
// value of a setting that is not given, `is` what a string must look like,
// `oneof` its allowed values, and `doc` the line that `regate config keys`
// prints. print:"given" keeps defaults that nobody asked about out of
// `regate config print`, where they would have no effect. A setting with `flag:"true"` also has a command-line flag.
type Config struct {
	Log          Log           `key:"log" doc:"the gateway's own log, on standard error"`
	Admin        Admin         `key:"admin" doc:"HTTP API for health, metrics, approvals and revocations"`
	State        State         `key:"state" doc:"where journal, approvals and revocations live"`
	Record       Record        `key:"record" doc:"what was asked, decided and shown"`
	Identity     Identity      `key:"identity" doc:"who may connect: OIDC issuers"`
	Policy       Policy        `key:"policy" doc:"Rego bundles"`
	Approval     Approval      `key:"approval" doc:"requests held for approval"`
	Postgres     Postgres      `key:"postgres" doc:"where agents connect with the PostgreSQL protocol"`
	Kubernetes   Kubernetes    `key:"kubernetes" print:"given" doc:"where agents connect with the Kubernetes API"`
	HTTP         HTTP          `key:"http" print:"given" doc:"HTTP APIs, and the forward proxy"`
	MCP          MCP           `key:"mcp" print:"given" doc:"servers of the Model Context Protocol"`
	Targets      []Target      `key:"targets" doc:"the systems behind the gateway"`
	DrainTimeout time.Duration `key:"drain_timeout" default:"30s" flag:"true" doc:"how long SIGTERM waits for sessions to end by themselves"`

	file    string
	origins map[string]origin
}

// Problem makes a problem of a setting at its place in the file, for what only
// the room that uses the setting can judge.
func (c *Config) Problem(key, id, msg string) Problem {
	d := decoder{file: c.file, origins: c.origins}
	d.fail(key, id, msg, "")
	return d.problems[0]
}

// Log is how the gateway logs.
type Log struct {
	Level  string `key:"level" default:"info" oneof:"debug info warn error" flag:"true" doc:"least severe level that is logged"`
	Format string `key:"format" default:"text" oneof:"text json" flag:"true" doc:"text for people, json for collectors"`
}

// Admin is the admin API's listener and who may do what on it. A role that
// names nobody is held by nobody, except approver: without it every identity
// that a policy's own requirement accepts may approve.
type Admin struct {
	Address string    `key:"address" default:"127.0.0.1:8411" is:"listen" flag:"true" doc:"host:port, or off; plain HTTP on loopback only"`
	TLS     ServerTLS `key:"tls" doc:"certificate of the admin API; needed beyond loopback"`
	Roles   Roles     `key:"roles" doc:"who may do what on the admin API"`
	Console Console   `key:"console" print:"given" doc:"pages for people, at the same address"`
}

// Enabled reports whether there is an admin API.
func (a Admin) Enabled() bool { return a.Address != Off }

// Off is the address of a listener that is switched off.
const Off = "off"

// ServerTLS is a certificate that regate shows. Both files are read again
// when they change.
type ServerTLS struct {
	Cert     string `key:"cert" is:"file" doc:"PEM file with the certificate chain"`
	Key      string `key:"key" is:"file" doc:"PEM file with the private key"`
	ClientCA string `key:"client_ca" is:"file" doc:"PEM file; clients must show a certificate signed by it"`
}

// Enabled reports whether a certificate is configured.
func (t ServerTLS) Enabled() bool { return t.Cert != "" && t.Key != "" }

// Roles of the admin API.
type Roles struct {
	Viewer   Members `key:"viewer" doc:"may read status, sessions, approvals"`
	Approver Members `key:"approver" doc:"may approve and deny, where the policy's requirement agrees"`
	Auditor  Members `key:"auditor" doc:"may read what a viewer may, and have recorded decisions explained; recordings themselves are files"`
	Operator Members `key:"operator" doc:"may revoke and see everything"`
}

// Members are the identities that hold a role: any listed group or subject.
type Members struct {
	Groups   []string `key:"groups" doc:"groups, as the issuer's claim mapping gives them"`
	Subjects []string `key:"subjects" doc:"subject ids"`
}

// Empty reports whether nobody is named.
func (m Members) Empty() bool { return len(m.Groups) == 0 && len(m.Subjects) == 0 }

// State is where the journal, approvals and revocations live.
type State struct {
	Dir  string `key:"dir" default:"/var/lib/regate" is:"dir" flag:"true" doc:"folder of the embedded server, archive, index and generated keys"`
	NATS NATS   `key:"nats" doc:"an existing NATS cluster instead of the embedded server"`
	Sync string `key:"sync" default:"interval" oneof:"interval always" doc:"when the embedded server calls fsync"`
}

// NATS is an external cluster with JetStream.
type NATS struct {
	URL             string `key:"url" is:"url:nats,tls,ws,wss" doc:"servers, separated by commas; empty: embedded"`
	CredentialsFile string `key:"credentials_file" is:"file" doc:"NATS .creds file"`
	Replicas        int    `key:"replicas" default:"1" min:"1" max:"5" doc:"copies of each stream"`
}

// Record is how sessions are recorded.
type Record struct {
	Mode    string  `key:"mode" default:"strict" oneof:"strict best_effort" flag:"true" doc:"strict: nothing is released before it is recorded"`
	Gateway string  `key:"gateway" doc:"this gateway's name in the record; default: the host name"`
	Journal Journal `key:"journal" doc:"what requests wait for"`
	Archive Archive `key:"archive" doc:"one immutable file a session"`
	Index   Index   `key:"index" doc:"SQLite index of the archive"`
	Retain  Retain  `key:"retention" doc:"when recordings are deleted; default: never"`
	KeyFile string  `key:"key_file" is:"file" doc:"PEM file (PKCS #8) with the Ed25519 key that signs receipts; default: made in state.dir"`

	Recorder     bool   `key:"recorder" default:"true" doc:"write the archive and the index in this process; one gateway of a cluster does"`
	RecorderName string `key:"recorder_name" default:"main" is:"name" doc:"recorders of different names each archive everything"`
}

// Journal bounds the journal.
type Journal struct {
	MaxBytes Size `key:"max_bytes" default:"4GiB" min:"16777216" doc:"size at which the journal is full and strict mode denies"`
}

// Archive is the blob store of recordings.
type Archive struct {
	URL string `key:"url" is:"url:file,mem" doc:"where recordings are kept; default: folder archive in state.dir"`
}

// Index is the searchable list of sessions.
type Index struct {
	Path string `key:"path" is:"path" doc:"SQLite file; default: index.db in state.dir"`
}

// Retain says how long recordings are kept after a session has ended.
type Retain struct {
	Keep    time.Duration  `key:"keep" min:"0s" doc:"how long recordings are kept, such as 2160h for 90 days; 0: for ever"`
	Targets []RetainTarget `key:"targets" doc:"targets with a retention of their own; the first that matches counts"`
}

// RetainTarget is the retention of some targets.
type RetainTarget struct {
	Target string        `key:"target" required:"true" doc:"name of a target, or a glob"`
	Keep   time.Duration `key:"keep" min:"0s" doc:"how long its recordings are kept; 0: for ever"`
}

// Policy is where Rego bundles come from and how they count.
type Policy struct {
	Bundles   []Bundle      `key:"bundles" doc:"Rego bundles, all in force at once"`
	Timeout   time.Duration `key:"timeout" default:"250ms" min:"1ms" max:"1m" doc:"longest evaluation; longer is a denial"`
	AllowFrom []AllowFrom   `key:"allow_from" doc:"whose allow counts for which targets; default: every package's for all"`
	Cache     Cache         `key:"cache" doc:"decision cache"`
	MaskKey   Secret        `key:"mask_key" doc:"key of hash and tokenise masks, at least 32 bytes; default: made in state.dir"`
}

// Cache bounds the decision cache.
type Cache struct {
	Disabled bool `key:"disabled" doc:"evaluate every request anew"`
	Entries  int  `key:"entries" default:"65536" min:"1" doc:"decisions kept"`
	MaxBytes Size `key:"max_bytes" default:"64MiB" min:"1048576" doc:"estimated memory of decisions kept"`
}

// Bundle is one OPA bundle: local paths or a URL, not both.
type Bundle struct {
	Name     string     `key:"name" required:"true" is:"name" doc:"name of the bundle in decisions"`
	Paths    []string   `key:"paths" is:"existing" doc:"folders (watched) or tarballs, activated together"`
	URL      string     `key:"url" is:"url:http,https,s3,oci" doc:"where to poll the bundle"`
	Auth     BundleAuth `key:"auth" doc:"credentials for url"`
	Signing  Signing    `key:"signing" print:"given" doc:"demand a signature"`
	Polling  Polling    `key:"polling" print:"given" doc:"how often url is asked"`
	MaxBytes Size       `key:"max_bytes" default:"64MiB" min:"1024" doc:"largest bundle, packed and unpacked"`

	Mode          string `key:"mode" default:"enforce" oneof:"enforce shadow" print:"given" doc:"shadow: evaluated beside what decides and counted, without any effect"`
	AllowRollback bool   `key:"allow_rollback" print:"given" doc:"take a revision that is older than one that was in force"`
}

// BundleAuth is how the gateway logs in to a bundle server. Without profile
// and metadata S3 takes AWS_ACCESS_KEY_ID and so on from the environment.
type BundleAuth struct {
	Bearer   Secret `key:"bearer" doc:"bearer token, for http and oci"`
	CAFile   string `key:"ca_file" is:"file" doc:"PEM file; default: the system's authorities"`
	CertFile string `key:"cert_file" is:"file" doc:"client certificate"`
	KeyFile  string `key:"key_file" is:"file" doc:"its private key"`
	Region   string `key:"region" doc:"S3 region; default: us-east-1"`
	Endpoint string `key:"endpoint" is:"url:http,https" doc:"S3 endpoint; default: AWS"`
	Profile  string `key:"profile" doc:"S3 credentials: profile of the shared credentials file"`
	Metadata bool   `key:"metadata" doc:"S3 credentials: from the instance metadata service"`
}

// Signing demands that a bundle is signed.
type Signing struct {
	KeyFile   string `key:"key_file" is:"file" doc:"PEM file with the public key"`
	KeyID     string `key:"key_id" doc:"key id in the signature"`
	Algorithm string `key:"algorithm" default:"RS256" oneof:"RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512" doc:"signature algorithm"`
	Scope     string `key:"scope" doc:"scope that the signature must claim"`
}

// Polling is the interval of a remote bundle.
type Polling struct {
	MinDelay time.Duration `key:"min_delay" default:"10s" min:"1s" doc:"shortest pause between two polls"`
	MaxDelay time.Duration `key:"max_delay" default:"20s" min:"1s" doc:"longest pause between two polls"`
}

// AllowFrom lets the allow rules of some packages count for some targets.
type AllowFrom struct {
	Targets  []string          `key:"targets" doc:"target names or globs; default: all"`
	Labels   map[string]string `key:"labels" doc:"labels that a target must have too"`
	Packages []string          `key:"packages" required:"true" doc:"packages below regate.policies, or globs: acme.sql, acme.*"`
}

// Covers reports whether an entry is for a target.
func (a AllowFrom) Covers(t Target) bool {
	for k, v := range a.Labels {
		if got, ok := t.Labels[k]; !ok || got != v {
			return false
		}
	}
	if len(a.Targets) == 0 {
		return true
	}
	return slices.ContainsFunc(a.Targets, func(glob string) bool {
		ok, err := path.Match(glob, t.Name)
		return err == nil && ok
	})
}

// Approval bounds held requests. Who may approve, for how long and how many
// are needed is said by policies.
type Approval struct {
	MaxOpen int `key:"max_open" default:"50" min:"1" max:"10000" doc:"open requests that one requester may have"`
}

// Postgres is the PostgreSQL front.
type Postgres struct {
	Listeners       []Listener `key:"listeners" doc:"addresses that speak the PostgreSQL protocol"`
	MaxMessageBytes Size       `key:"max_message_bytes" default:"16MiB" min:"65536" max:"1073741824" doc:"largest message of an agent"`
	MaxAnswerBytes  Size       `key:"max_answer_bytes" default:"256MiB" min:"65536" max:"1073741824" doc:"largest message of a target, such as one row"`
	SQL             SQL        `key:"sql" doc:"bounds of the SQL analysis"`
}

// SQL bounds what is parsed. Longer or deeper statements are denied.
type SQL struct {
	MaxBytes   Size `key:"max_bytes" default:"1MiB" min:"1024" max:"67108864" doc:"longest statement text"`
	MaxChain   int  `key:"max_chain" default:"2000" min:"100" max:"10000" doc:"deepest nesting and longest chain of operators; the parser overflows its stack at about 25000"`
	CacheBytes Size `key:"cache_bytes" default:"32MiB" doc:"memory for analysed statements; 0B: none"`
}

// Listener is one address for agents.
type Listener struct {
	Address     string         `key:"address" required:"true" is:"listen" doc:"host:port"`
	TLS         ServerTLS      `key:"tls" doc:"certificate that agents see; needed beyond loopback"`
	Targets     []string       `key:"targets" doc:"names of the targets behind this address; default: every postgres target"`
	Plaintext   bool           `key:"plaintext" doc:"accept connections without TLS; default: only on loopback"`
	OAuthBearer OAuthBearer    `key:"oauthbearer" doc:"the SASL method of PostgreSQL 18 clients"`
	Limits      ListenerLimits `key:"limits" doc:"what one client may take"`
}

// OAuthBearer offers OAUTHBEARER beside the token as password.
type OAuthBearer struct {
	Enabled bool   `key:"enabled" default:"true" doc:"offer it to clients that ask with the startup parameter regate.auth=oauthbearer"`
	First   bool   `key:"first" doc:"offer it to all but those that ask for regate.auth=password"`
	Issuer  string `key:"issuer" doc:"name of the issuer where clients get tokens; default: the first"`
	Scope   string `key:"scope" default:"openid" doc:"scopes that clients ask for"`
}

// ListenerLimits bounds what clients can cost before they have shown who they
// are.
type ListenerLimits struct {
	HandshakeTimeout time.Duration `key:"handshake_timeout" default:"10s" min:"100ms" max:"5m" doc:"from accept to authenticated"`
	MaxConnections   int           `key:"max_connections" default:"1000" min:"1" doc:"open connections"`
	MaxStartupBytes  Size          `key:"max_startup_bytes" default:"10000B" min:"512" max:"65536" doc:"largest startup packet (PostgreSQL's own limit is 10000)"`
}

// Target is one system behind the gateway.
type Target struct {
	Name     string            `key:"name" required:"true" is:"name" doc:"name in policies, records and revocations"`
	Protocol string            `key:"protocol" default:"postgres" oneof:"postgres kubernetes" doc:"protocol; the settings of the others have no effect"`
	Labels   map[string]string `key:"labels" doc:"input.target.labels"`
	Address  string            `key:"address" required:"postgres" is:"address" doc:"host:port, or the path of a Unix socket"`
	Database string            `key:"database" doc:"database on the server; default: the name that the client asked for"`
	Match    Match             `key:"match" doc:"which connections of a shared listener are for this target"`
	User     string            `key:"user" required:"postgres" doc:"the gateway's own login"`
	Password Secret            `key:"password" doc:"the gateway's own password"`
	Auth     []string          `key:"auth" oneof:"scram-sha-256-plus scram-sha-256 cert md5 password trust" doc:"how the gateway may show who it is; default: scram-sha-256, or cert without a password"`
	TLS      ClientTLS         `key:"tls" doc:"TLS towards the server"`
	Role     Role              `key:"role" doc:"the role that agents act as"`
	Settings map[string]string `key:"settings" doc:"parameters set at login, such as statement_timeout"`
	Catalog  Catalog           `key:"catalog" doc:"names and types read from the server"`
	Limits   TargetLimits      `key:"limits" doc:"what the gateway asks of the server"`

	Kubernetes Cluster `key:"kubernetes" print:"given" doc:"the API server of a kubernetes target"`
}

// Match selects a target on a listener that serves several: the TLS server
// name decides where a target has one, the database otherwise.
type Match struct {
	Databases []string `key:"databases" doc:"database names that agents ask for; default: database, else the target's name"`
	SNI       []string `key:"sni" doc:"TLS server names"`
}

// TLS modes towards a target. There is nothing in between: a certificate that
// is not checked protects from nobody who could be on the way.
const (
	TLSDisable    = "disable"
	TLSVerifyFull = "verify-full"
)

// ClientTLS is TLS towards a target.
type ClientTLS struct {
	Mode       string `key:"mode" default:"verify-full" oneof:"disable verify-full" doc:"whether TLS is used; the server's certificate is always checked"`
	Direct     bool   `key:"direct" doc:"begin with TLS and no SSLRequest (PostgreSQL 17)"`
	CAFile     string `key:"ca_file" is:"file" doc:"PEM file; default: the system's authorities"`
	CertFile   string `key:"cert_file" is:"file" doc:"client certificate"`
	KeyFile    string `key:"key_file" is:"file" doc:"its private key"`
	ServerName string `key:"server_name" doc:"name in the certificate; default: the host of address"`
}

// Role is the database role that an agent's statements run as: a fixed name,
// or the value of a claim translated by a map.
type Role struct {
	Name         string            `key:"name" doc:"role; default: the login's own"`
	Claim        string            `key:"claim" doc:"claim whose value chooses the role"`
	Map          map[string]string `key:"map" doc:"claim value to role; a value that is not listed gets default"`
	Default      string            `key:"default" doc:"role when the map has no answer; empty: refuse"`
	AllowSetRole []string          `key:"allow_set_role" doc:"roles that SET ROLE may choose"`
}

// Catalog is how names are read from a target.
type Catalog struct {
	MaxAge time.Duration `key:"max_age" default:"1m" min:"1s" doc:"age after which the catalogue is read again"`
}

// TargetLimits bounds the use of a server.
type TargetLimits struct {
	MaxConnections int           `key:"max_connections" default:"500" min:"1" doc:"connections to the server"`
	ConnectTimeout time.Duration `key:"connect_timeout" default:"10s" min:"100ms" max:"5m" doc:"from dial to ready"`
}
