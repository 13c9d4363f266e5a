package devissuer

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

// LoginClient is the public client that `regate token --login` uses; it is
// always there.
const LoginClient = "regate-cli"

// ConsoleClient is the public client of a gateway's console; it is always
// there, for a console on loopback.
const ConsoleClient = "regate-console"

// Config describes the issuer. The yaml tags are those of the file that
// `regate dev-issuer --config` reads.
type Config struct {
	// Issuer is the iss and the base of every address, http on loopback.
	Issuer string `yaml:"issuer"`
	// Audiences are what tokens may be for; the first is the default.
	// Empty means "regate".
	Audiences []string `yaml:"audiences"`
	// TokenLifetime of access and ID tokens. Default 10 min.
	TokenLifetime time.Duration `yaml:"token_lifetime"`
	// Algorithm that signs: ES256 (default) or RS256.
	Algorithm string   `yaml:"algorithm"`
	Clients   []Client `yaml:"clients"`
	Users     []User   `yaml:"users"`
}

// Client is a confidential client: an agent, an approver's bot, or the gateway
// that introspects.
type Client struct {
	ID     string `yaml:"id"`
	Secret string `yaml:"secret"`
	// Subject is the sub of its tokens. Default the id.
	Subject string   `yaml:"subject"`
	Groups  []string `yaml:"groups"`
	// Scopes that it may ask for; all of them where it asks for none.
	Scopes []string `yaml:"scopes"`
	// Actor, when set, goes into act: its tokens say that the actor acts for
	// Subject.
	Actor *Actor `yaml:"actor"`
	// Claims are put into its access tokens beside the others.
	Claims map[string]any `yaml:"claims"`
}

// Actor is the content of an act claim.
type Actor struct {
	Subject  string   `yaml:"subject"`
	ClientID string   `yaml:"client_id"`
	Groups   []string `yaml:"groups"`
}

// User is a person who can log in by being chosen from the list.
type User struct {
	ID     string   `yaml:"id"` // sub
	Name   string   `yaml:"name"`
	Email  string   `yaml:"email"`
	Groups []string `yaml:"groups"`
	// Password is asked for when set. It is kept as it is: choose one that is
	// used nowhere else.
	Password string `yaml:"password"`
}

// normal returns the configuration with defaults, or every problem of it.
func (c Config) normal() (Config, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if u, err := url.Parse(c.Issuer); err != nil || u.Scheme != "http" || !loopback(u.Hostname()) || strings.HasSuffix(c.Issuer, "/") {
		bad("issuer %q is not an http address on loopback without a slash at its end", c.Issuer)
	}
	if len(c.Audiences) == 0 {
		c.Audiences = []string{"regate"}
	}
	if c.TokenLifetime == 0 {
		c.TokenLifetime = 10 * time.Minute
	}
	if c.TokenLifetime < time.Second {
		bad("token lifetime %s is less than a second", c.TokenLifetime)
	}
	if c.Algorithm == "" {
		c.Algorithm = "ES256"
	}
	if c.Algorithm != "ES256" && c.Algorithm != "RS256" {
		bad("algorithm %q is not ES256 or RS256", c.Algorithm)
	}
	c.Clients, c.Users = slices.Clone(c.Clients), slices.Clone(c.Users)
	seen := map[string]bool{LoginClient: true, ConsoleClient: true}
	for i := range c.Clients {
		cl := &c.Clients[i]
		if cl.ID == "" || cl.Secret == "" {
			bad("client %q: id and secret are needed", cl.ID)
		}
		if seen[cl.ID] {
			bad("client %q is there twice, or is the name of a built-in client", cl.ID)
		}
		seen[cl.ID] = true
		if cl.Subject == "" {
			cl.Subject = cl.ID
		}
		if cl.Actor != nil && cl.Actor.Subject == "" {
			bad("client %q: its actor has no subject", cl.ID)
		}
	}
	users := map[string]bool{}
	for i := range c.Users {
		u := &c.Users[i]
		if u.ID == "" || users[u.ID] {
			bad("user %q: the id is empty or there twice", u.ID)
		}
		users[u.ID] = true
		if u.Name == "" {
			u.Name = u.ID
		}
	}
	return c, errors.Join(errs...)
}

// ParseClient reads the short form "id:secret:group1,group2"; groups may be
// left out.
func ParseClient(s string) (Client, error) {
	parts := strings.SplitN(s, ":", 3)
	if len(parts) < 2 || parts[0] == "" || parts[1] == "" {
		return Client{}, errors.New("a client is written id:secret or id:secret:group1,group2")
	}
	c := Client{ID: parts[0], Secret: parts[1]}
	if len(parts) == 3 {
		c.Groups = split(parts[2])
	}
	return c, nil
}

// ParseUser reads the short form "id:group1,group2"; groups may be left out.
func ParseUser(s string) (User, error) {
	id, groups, _ := strings.Cut(s, ":")
	if id == "" {
		return User{}, errors.New("a user is written id or id:group1,group2")
	}
	return User{ID: id, Groups: split(groups)}, nil
}

func split(s string) []string {
	var list []string
	for _, g := range strings.Split(s, ",") {
		if g = strings.TrimSpace(g); g != "" {
			list = append(list, g)
		}
	}
	return list
}

// loopback reports whether the host is a loopback address or localhost.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
