package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/regate-dev/regate/engine/config"
	"github.com/regate-dev/regate/engine/console"
	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/engine/mask"
	"github.com/regate-dev/regate/engine/policy"
)

// This file translates the configuration into the options of each room.

func identityConfig(c config.Identity) identity.Config {
	out := identity.Config{CacheSize: none(c.CacheSize)}
	for _, is := range c.Issuers {
		i := identity.Issuer{
			Name: is.Name, URL: is.URL, Profile: identity.Profile(is.Profile),
			Audiences: is.Audiences, Algorithms: is.Algorithms, Types: is.Types,
			ClockSkew: none(is.ClockSkew), MaxTokenAge: is.MaxTokenAge, RequiredClaims: is.RequiredClaims,
			Claims:      identity.Claims{Groups: is.Claims.Groups, Scopes: is.Claims.Scopes, ClientID: is.Claims.ClientID},
			GroupPrefix: is.GroupPrefix, ActorIssuers: is.ActorIssuers, TrustDomain: is.TrustDomain,
			JWKSURL: is.JWKSURL, DiscoveryURL: is.DiscoveryURL, CAFile: is.CAFile, TokenFile: is.TokenFile, InsecureHTTP: is.InsecureHTTP,
			Keys: identity.KeyPolicy{
				MaxAge: is.Keys.MaxAge, MinRefresh: is.Keys.MinRefresh,
				StaleIfError: none(is.Keys.StaleIfError), NegativeFor: is.Keys.NegativeFor,
			},
		}
		if in := is.Introspection; in.Enabled() {
			i.Introspection = &identity.Introspection{
				URL: in.URL, ClientID: in.ClientID, ClientSecret: in.ClientSecret.Reveal(), CacheFor: none(in.CacheFor),
			}
		}
		out.Issuers = append(out.Issuers, i)
	}
	return out
}

// none turns an explicit zero of the configuration, where the default is
// filled in already, into what the rooms take for "none": zero means the
// default to them.
func none[T ~int | ~int64](v T) T {
	if v == 0 {
		return -1
	}
	return v
}

// policyConfig may fail: the keys that sign bundles are read here.
func policyConfig(cfg *config.Config) (policy.Config, error) {
	c := cfg.Policy
	out := policy.Config{
		Timeout: c.Timeout, Dir: filepath.Join(cfg.State.Dir, "bundles"), DetectKinds: mask.Kinds(),
		Cache: policy.CacheConfig{Disabled: c.Cache.Disabled, Entries: c.Cache.Entries, Bytes: int64(c.Cache.MaxBytes)},
	}
	for _, b := range c.Bundles {
		bundle := policy.Bundle{Name: b.Name, URL: b.URL, Paths: b.Paths, MaxBytes: int64(b.MaxBytes), Shadow: b.Mode == "shadow", AllowRollback: b.AllowRollback}
		if b.URL != "" {
			bundle.Polling = policy.Polling{Min: b.Polling.MinDelay, Max: b.Polling.MaxDelay}
			bundle.Auth = bundleAuth(b)
		}
		if s := b.Signing; s.KeyFile != "" {
			pem, err := os.ReadFile(s.KeyFile)
			if err != nil {
				return out, fmt.Errorf("bundle %q: %w", b.Name, err)
			}
			bundle.Signing = &policy.Signing{KeyID: s.KeyID, PublicKey: string(pem), Scope: s.Scope, Algorithm: s.Algorithm}
		}
		out.Bundles = append(out.Bundles, bundle)
	}
	// The targets are all known, so labels are resolved here and the engine
	// sees names alone.
	for _, a := range c.AllowFrom {
		entry := policy.AllowFrom{Packages: a.Packages}
		for _, t := range cfg.Targets {
			if a.Covers(t) {
				entry.Targets = append(entry.Targets, t.Name)
			}
		}
		if len(entry.Targets) > 0 { // none would mean all
			out.AllowFrom = append(out.AllowFrom, entry)
		}
	}
	if len(c.AllowFrom) > 0 && len(out.AllowFrom) == 0 {
		return out, errors.New("allow_from covers no target") // and no entry at all would mean everybody's
	}
	return out, nil
}

func bundleAuth(b config.Bundle) *policy.Auth {
	a := b.Auth
	if a == (config.BundleAuth{}) {
		return nil
	}
	out := &policy.Auth{Bearer: a.Bearer.Reveal(), ClientCert: a.CertFile, ClientKey: a.KeyFile, CACert: a.CAFile}
	if a.Region != "" || a.Endpoint != "" || a.Profile != "" || a.Metadata {
		out.S3 = &policy.S3Auth{Region: a.Region, Endpoint: a.Endpoint, Profile: a.Profile, Metadata: a.Metadata}
	}
	return out
}

func consoleRoles(r config.Roles) console.Roles {
	members := func(m config.Members) console.Members { return console.Members{Groups: m.Groups, Subjects: m.Subjects} }
	return console.Roles{
		Viewer: members(r.Viewer), Approver: members(r.Approver), Auditor: members(r.Auditor), Operator: members(r.Operator),
	}
}

// checkIdentity reports what the verifier would refuse, without calling an
// issuer.
func checkIdentity(c config.Identity) error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // nothing is fetched
	v, err := identity.New(ctx, identityConfig(c))
	if err == nil {
		v.Close()
	}
	return err
}
