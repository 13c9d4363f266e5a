package policy

import (
	"time"

	"github.com/sirupsen/logrus"
)

// Config says which bundles decide and within which bounds.
type Config struct {
	// Bundles are all in force at once. Until each of them has been activated
	// at least once everything is denied: a missing bundle may hold a deny.
	Bundles []Bundle
	// Timeout bounds one evaluation. 0 means 250 ms.
	Timeout time.Duration
	// AllowFrom says whose allow counts for which targets. Empty: the allow of
	// every package counts for every target. Otherwise an allow counts only
	// where an entry names both the target and the package; a target that no
	// entry names is denied. Every package may restrict, listed or not.
	AllowFrom []AllowFrom
	// Dir keeps remote bundles that were activated, so that a restart does not
	// depend on the bundle server, and the newest revision of every bundle, so
	// that it does not bring back an older one. Empty: neither is kept.
	Dir string
	// DetectKinds are the kinds that a mask may name in `detect`. Nil: any.
	DetectKinds []string
	// Cache bounds the decision cache.
	Cache CacheConfig
	// OnShadow is called, from one goroutine of the engine and after the ruling
	// was returned, with what shadow packages would have made of a document that
	// was evaluated (not served from the cache). When it cannot keep up reports
	// are dropped and counted: shadow packages never delay an answer. Nil: they
	// are counted alone.
	OnShadow func(ShadowReport)
	// Logger gets activations and their failures, and what shadow packages would
	// have decided otherwise. Nil: nothing is logged.
	Logger logrus.FieldLogger
}

// CacheConfig bounds the decision cache. Zero fields take the defaults.
type CacheConfig struct {
	Disabled bool
	Entries  int   // 0 means 65,536
	Bytes    int64 // estimated memory of keys and rulings; 0 means 64 MiB
}

// Bundle is one source of policies and data. Exactly one of URL and Paths is
// set.
type Bundle struct {
	Name string // unique, [A-Za-z0-9._-]+
	// URL is a folder or a .tar.gz (a plain path or file://…), http(s)://…,
	// s3://bucket/key or oci://registry/repository:tag. Folders and local
	// tarballs are watched; the others are polled.
	URL string
	// Paths are folders and tarballs that are activated together as one
	// bundle, e.g. policies/lib, policies/postgres/read_only, bundles/demo. Each
	// has its own .manifest; their roots must not overlap.
	Paths []string
	// Signing, when set, demands a valid signature.
	Signing *Signing
	Polling Polling
	// Auth holds credentials for a remote source. Nil: none.
	Auth *Auth
	// Shadow: the bundle decides nothing. It is evaluated beside what does, in a
	// world of its own where it stands in for the bundles whose roots it has, and
	// what it would change is counted. It may be missing or broken.
	Shadow bool
	// AllowRollback takes a revision that is older than one that was in force.
	AllowRollback bool
	// MaxBytes bounds the bundle, packed and unpacked. 0 means 64 MiB.
	MaxBytes int64
}

// Signing is the key that a bundle must be signed with.
type Signing struct {
	KeyID     string
	PublicKey string // PEM, or the secret itself for HS256
	Scope     string // must equal the signature's scope when set
	Algorithm string // RS256 by default; ES256, …
}

// Polling says how often a remote bundle is asked for, and how long an answer
// may take to its last byte. Zero means 10 s to 20 s, and 2 min.
type Polling struct {
	Min, Max, Timeout time.Duration
}

// Auth is how the gateway logs in to a bundle server. Exactly one way is set.
type Auth struct {
	// Bearer is a token, BearerFile a file that holds one and is read anew for
	// each request.
	Bearer, BearerFile string
	// BearerScheme replaces "Bearer", e.g. "Basic".
	BearerScheme string
	// ClientCert and ClientKey are PEM files.
	ClientCert, ClientKey string
	// S3 signs requests with AWS signature 4. It is on for every s3:// source;
	// unless it says otherwise the credentials are AWS_ACCESS_KEY_ID,
	// AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_REGION.
	S3 *S3Auth
	// CACert is a PEM file of the authority to trust instead of the system's.
	CACert string
}

// S3Auth is for S3 and what speaks like it.
type S3Auth struct {
	Region    string // "us-east-1" when empty
	Endpoint  string // e.g. https://minio.internal:9000; "" is AWS
	AccessKey string // with SecretKey: these credentials
	SecretKey string
	Profile   string // of the shared credentials file
	Metadata  bool   // from the instance metadata service
}

// AllowFrom lets some packages' allow count for some targets. Both are globs of
// path.Match, where a dot separates nothing: "acme.*" matches "acme.sql".
type AllowFrom struct {
	Targets  []string // target names; none means all
	Packages []string // below regate.policies, e.g. "acme.sql", "acme.*"
}
