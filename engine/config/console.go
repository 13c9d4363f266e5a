package config

import (
	"slices"
	"time"
)

// Console are the web pages for people at the admin API's address. They are on
// when there is a client to sign in with.
type Console struct {
	URL          string        `key:"url" is:"url:https,http" doc:"where browsers find the console; default: the admin address, where that is on loopback"`
	Issuer       string        `key:"issuer" doc:"name of the issuer that people sign in at; default: the only one"`
	ClientID     string        `key:"client_id" doc:"OAuth client of the console; switches it on"`
	ClientSecret Secret        `key:"client_secret" doc:"secret of that client; none for a public one, which PKCE protects"`
	Scopes       []string      `key:"scopes" doc:"scopes to ask for; default: openid, profile"`
	Audience     string        `key:"audience" doc:"sent to the issuer as the parameter audience, where it asks for one"`
	Token        string        `key:"token" default:"access" oneof:"access id" doc:"which token says who somebody is; it must be for one of the issuer's audiences"`
	Session      time.Duration `key:"session" default:"1h" min:"1m" max:"24h" doc:"how long a sign-in lasts, and how old somebody's groups may get"`
	CookieKey    Secret        `key:"cookie_key" doc:"seals cookies, the same for all replicas; default: a key of this gateway's own"`
}

// Enabled reports whether there are pages.
func (c Console) Enabled() bool { return c.ClientID != "" }

// leastCookieKey is how short a cookie_key may be, in bytes.
const leastCookieKey = 32

func (c *checker) fillConsole() {
	con := &c.cfg.Admin.Console
	if !con.Enabled() {
		return
	}
	if con.Issuer == "" && len(c.cfg.Identity.Issuers) == 1 {
		con.Issuer = c.cfg.Identity.Issuers[0].Name
	}
	if len(con.Scopes) == 0 {
		con.Scopes = []string{"openid", "profile"}
	}
}

func (c *checker) checkConsole() {
	con := c.cfg.Admin.Console
	if !con.Enabled() {
		c.idle("the console is off", "give admin.console.client_id", "admin.console")
		return
	}
	if !c.cfg.Admin.Enabled() {
		c.fail("admin.console.client_id", IDNoEffect, "has no effect: the admin API is off", "give admin.address")
		return
	}
	if !slices.Contains(con.Scopes, "openid") {
		c.fail("admin.console.scopes", IDInvalid, "the scope openid is needed to sign in", "add openid")
	}
	if con.CookieKey.IsSet() && len(con.CookieKey.Reveal()) < leastCookieKey {
		c.fail("admin.console.cookie_key", IDInvalid, "is too short to seal cookies", "use 32 bytes or more, such as openssl rand -hex 32")
	}
	switch i := slices.IndexFunc(c.cfg.Identity.Issuers, func(is Issuer) bool { return is.Name == con.Issuer }); {
	case con.Issuer == "":
		c.fail("admin.console.issuer", IDMissing, "is needed where there is not just one issuer", "name the one that people sign in at")
	case i < 0:
		c.fail("admin.console.issuer", IDUndefined, "no issuer is called "+con.Issuer, "")
	case c.cfg.Identity.Issuers[i].URL == "":
		c.fail("admin.console.issuer", IDInvalid, "the issuer "+con.Issuer+" has no url to sign in at", "")
	}
	switch {
	case con.URL == "" && !loopback(c.cfg.Admin.Address):
		c.fail("admin.console.url", IDMissing, "is needed where the admin API listens beyond loopback", "give the address that people type, such as https://regate.example.com")
	case clearURL(con.URL):
		c.fail("admin.console.url", IDInsecure, "cookies would cross the network in clear", "use https")
	}
}
