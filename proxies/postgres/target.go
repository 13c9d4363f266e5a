package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/proxies/postgres/catalog"
	"github.com/regate-dev/regate/proxies/postgres/handshake"
	"github.com/regate-dev/regate/proxies/postgres/upstream"
)

// Target is one PostgreSQL database server behind the gateway.
type Target struct {
	Name   string
	Labels map[string]string
	// Databases and ServerNames say which agents are for it: by the database
	// they ask for, or by their TLS server name. Names compare exactly.
	Databases   []string
	ServerNames []string
	// Upstream is how regate logs in. Its Database may be empty: then it is
	// the one that the agent asks for.
	Upstream upstream.Target
	Role     Role
	// CatalogAge is how old what is known of the schema may be; 0 means 1 minute.
	CatalogAge time.Duration
	// MaxConnections bounds connections to the server; 0 means 500.
	MaxConnections int
}

// Role says as which database role an agent acts.
type Role struct {
	Name    string // fixed; "" leaves regate's own login
	Claim   string // the claim whose value is looked up in Map; wins over Name
	Map     map[string]string
	Default string // when Map has no answer; "" refuses
	// Allowed are the roles that the agent may choose by SET ROLE.
	Allowed []string
}

var errNoRole = errors.New("no database role is configured for this identity")

// of returns the role for id. A claim of several values takes the first that
// the map knows.
func (r Role) of(id *identity.Identity) (string, error) {
	if r.Claim == "" {
		return r.Name, nil
	}
	values, err := identity.ClaimValues(id.Subject.Claims, r.Claim)
	if err != nil {
		return "", err
	}
	for _, v := range values {
		if role, ok := r.Map[v]; ok {
			return role, nil
		}
	}
	if r.Default == "" {
		return "", errNoRole
	}
	return r.Default, nil
}

// target is a Target at work.
type target struct {
	Target
	slots chan struct{}

	mu       sync.Mutex
	catalogs map[string]*catalog.Manager // by database
}

func newTarget(t Target) (*target, error) {
	check := t.Upstream
	if check.Database == "" {
		check.Database = "postgres"
	}
	if err := check.Check(); err != nil {
		return nil, err
	}
	if t.MaxConnections <= 0 {
		t.MaxConnections = 500
	}
	if t.CatalogAge <= 0 {
		t.CatalogAge = time.Minute
	}
	return &target{Target: t, slots: make(chan struct{}, t.MaxConnections), catalogs: map[string]*catalog.Manager{}}, nil
}

// catalog returns what is known of one database of the target.
func (t *target) catalog(database string) *catalog.Manager {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.catalogs[database]
	if m == nil {
		up := t.Upstream
		up.Database = database
		m = catalog.NewManager(catalog.ManagerOptions{
			MaxAge:  t.CatalogAge,
			Connect: func(ctx context.Context) (*pgx.Conn, error) { return upstream.Connect(ctx, up) },
		})
		t.catalogs[database] = m
	}
	return m
}

func (t *target) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.catalogs {
		m.Close()
	}
}

// route finds the target for an agent: by TLS server name first, then by
// database.
func (s *Server) route(l Listener, c *handshake.Client) *target {
	behind := func(t *target) bool { return len(l.Targets) == 0 || slices.Contains(l.Targets, t.Name) }
	if c.SNI != "" {
		for _, t := range s.targets {
			if behind(t) && slices.ContainsFunc(t.ServerNames, func(n string) bool { return strings.EqualFold(n, c.SNI) }) {
				return t
			}
		}
	}
	for _, t := range s.targets {
		if behind(t) && len(t.ServerNames) == 0 && slices.Contains(t.Databases, c.Database) {
			return t
		}
	}
	return nil
}
