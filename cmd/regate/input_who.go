package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/engine/config"
	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/engine/input"
)

// whoFlags say who is taken to make a request, from where, and when. They are
// the same for every protocol.
type whoFlags struct {
	config string
	target string
	labels map[string]string
	claims string

	subject, issuer, client, actor string
	groups, scopes                 []string

	asserted             input.Asserted
	address, application string
	tls                  bool
	at                   string

	// secrets are resolved, and files looked for, only where the target is to be
	// reached.
	secrets bool
}

// defaultTarget is the target's name where nobody says one.
const defaultTarget = "example"

func (w *whoFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&w.config, "config", "c", "", "configuration file: its targets and issuers count")
	f.StringVar(&w.target, "target", defaultTarget, "the target's name; with -c, one of the configuration")
	f.StringToStringVar(&w.labels, "label", nil, "a label of the target, e.g. env=prod (repeatable)")
	f.StringVar(&w.claims, "claims", "", "JSON file with the claims of a token, - for standard input; with -c, mapped as its issuer is configured")
	f.StringVar(&w.subject, "subject", "alice", "whose authority (sub)")
	f.StringVar(&w.issuer, "issuer", "https://id.example.com", "who issued the token (iss)")
	f.StringVar(&w.client, "client-id", "", "the token's client_id")
	f.StringSliceVar(&w.groups, "group", nil, "a group of the subject (repeatable)")
	f.StringSliceVar(&w.scopes, "scope", nil, "a scope of the token (repeatable)")
	f.StringVar(&w.actor, "actor", "", "who acts for the subject (act.sub)")
	f.StringVar(&w.asserted.Purpose, "purpose", "", "what the agent says of itself")
	f.StringVar(&w.asserted.Ticket, "ticket", "", "what the agent says of itself")
	f.StringVar(&w.asserted.Task, "task", "", "what the agent says of itself")
	f.StringVar(&w.asserted.Step, "step", "", "what the agent says of itself")
	f.StringVar(&w.address, "address", "127.0.0.1:50000", "the agent's address")
	f.StringVar(&w.application, "application", "", "the agent's program, as it says")
	f.BoolVar(&w.tls, "tls", false, "the agent connects with TLS")
	f.StringVar(&w.at, "time", "", "when, e.g. 2026-11-23T15:04:05Z (default: now)")
}

// claimFlags are the flags that --claims stands instead of.
var claimFlags = []string{"subject", "issuer", "client-id", "group", "scope", "actor"}

// now is the time of the request.
func (w *whoFlags) now() (time.Time, error) {
	if w.at == "" {
		return time.Now(), nil
	}
	t, err := time.Parse(time.RFC3339Nano, w.at)
	if err != nil {
		return time.Time{}, &usageError{fmt.Errorf("--time %q is not a time like 2026-11-23T15:04:05Z", w.at)}
	}
	return t, nil
}

// load reads the configuration where there is one: nil without -c and
// REGATE_CONFIG. A regate.yaml in the working folder does not count by itself:
// the same command must not mean something else in another folder.
func (w *whoFlags) load() (*config.Config, error) {
	file := w.config
	if file == "" {
		file = os.Getenv("REGATE_CONFIG")
	}
	if file == "" {
		return nil, nil
	}
	cfg, problems := config.Load(config.Options{File: file, Env: os.Environ(), SkipSecrets: !w.secrets})
	if config.HasErrors(problems) {
		return nil, fmt.Errorf("the configuration has errors: see 'regate config check -c %s'", file)
	}
	return cfg, nil
}

// resolved is who makes a request, when, and to what.
type resolved struct {
	identity *identity.Identity
	now      time.Time
	target   string
	labels   map[string]string
}

// resolve reads the flags, and the configuration where there is one.
func (w *whoFlags) resolve(cmd *cobra.Command, protocol input.Protocol) (resolved, error) {
	now, err := w.now()
	if err != nil {
		return resolved{}, err
	}
	cfg, err := w.load()
	if err != nil {
		return resolved{}, err
	}
	id, err := w.identity(cmd, cfg, now)
	if err != nil {
		return resolved{}, err
	}
	out := resolved{identity: id, now: now, target: w.target, labels: w.labels}
	if cfg != nil {
		target, err := w.configured(cmd, cfg, protocol)
		if err != nil {
			return resolved{}, err
		}
		out.target, out.labels = target.Name, target.Labels
	}
	return out, nil
}

// configured returns the target of the configuration that --target names: the
// only one of its protocol where it names none.
func (w *whoFlags) configured(cmd *cobra.Command, cfg *config.Config, protocol input.Protocol) (config.Target, error) {
	found := targetsOf(cfg, protocol)
	var names []string
	for _, t := range found {
		if t.Name == w.target {
			return t, nil
		}
		names = append(names, t.Name)
	}
	switch {
	case len(found) == 0:
		return config.Target{}, fmt.Errorf("the configuration has no target of protocol %s", protocol)
	case len(found) == 1 && !cmd.Flags().Changed("target"):
		return found[0], nil
	case !cmd.Flags().Changed("target"):
		return config.Target{}, &usageError{fmt.Errorf("--target says which target is meant: %s", strings.Join(names, ", "))}
	}
	return config.Target{}, &usageError{fmt.Errorf("--target %q is no %s target of the configuration: it has %s", w.target, protocol, strings.Join(names, ", "))}
}

// targetsOf are the configuration's targets of one protocol: their names and
// labels for those that have a list of their own.
func targetsOf(cfg *config.Config, protocol input.Protocol) []config.Target {
	out := ofProtocol(cfg.Targets, string(protocol))
	switch protocol {
	case input.HTTP:
		for _, t := range cfg.HTTP.Targets {
			out = append(out, config.Target{Name: t.Name, Protocol: string(protocol), Labels: t.Labels})
		}
	case input.MCP:
		for _, t := range cfg.MCP.Targets {
			out = append(out, config.Target{Name: t.Name, Protocol: string(protocol), Labels: t.Labels})
		}
	}
	return out
}

// identity is what the gateway would know of the token. cfg may be nil.
func (w *whoFlags) identity(cmd *cobra.Command, cfg *config.Config, now time.Time) (*identity.Identity, error) {
	var claims map[string]any
	if w.claims == "" {
		claims = w.made(now)
		cfg = nil // flags say what the principal is, not what its token looks like
	} else {
		for _, name := range claimFlags {
			if cmd.Flags().Changed(name) {
				return nil, &usageError{fmt.Errorf("--%s and --claims say the same thing: leave one out", name)}
			}
		}
		var err error
		if claims, err = readClaims(w.claims, cmd.InOrStdin()); err != nil {
			return nil, err
		}
	}
	issuers := identity.Config{}
	if cfg != nil {
		issuers = identityConfig(cfg.Identity)
	}
	completed := maps.Clone(claims)
	complete(completed, issuers, w.issuer, now)
	if cfg == nil {
		issuers.Issuers = []identity.Issuer{plainIssuer(completed)}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // nothing is fetched
	verifier, err := identity.New(ctx, issuers)
	if err != nil {
		return nil, err
	}
	defer verifier.Close()
	id, err := verifier.Unproven(completed)
	if err != nil {
		return nil, fmt.Errorf("the gateway would refuse a token with these claims: %w", err)
	}
	return id, nil
}

// made are the claims of a token that says what the flags say.
func (w *whoFlags) made(now time.Time) map[string]any {
	claims := map[string]any{"sub": w.subject, "iss": w.issuer}
	list := func(name string, values []string) {
		if len(values) == 0 {
			return
		}
		all := make([]any, len(values))
		for i, v := range values {
			all[i] = v
		}
		claims[name] = all
	}
	list("groups", w.groups)
	if len(w.scopes) > 0 {
		claims["scope"] = strings.Join(w.scopes, " ")
	}
	if w.client != "" {
		claims["client_id"] = w.client
	}
	if w.actor != "" {
		claims["act"] = map[string]any{"sub": w.actor}
	}
	claims["jti"] = "example"
	return claims
}

// complete adds what every token has and nobody wants to write: iss and aud of
// the first issuer, and an hour to live.
func complete(claims map[string]any, cfg identity.Config, issuer string, now time.Time) {
	audience := "regate"
	if len(cfg.Issuers) > 0 {
		issuer, audience = cfg.Issuers[0].URL, cfg.Issuers[0].Audiences[0]
		for _, i := range cfg.Issuers {
			if i.URL != "" && i.URL == claims["iss"] {
				issuer, audience = i.URL, i.Audiences[0]
			}
		}
	}
	for name, value := range map[string]any{"iss": issuer, "aud": []any{audience}, "exp": float64(now.Add(time.Hour).Unix())} {
		if _, there := claims[name]; !there && value != "" {
			claims[name] = value
		}
	}
}

// plainIssuer is an issuer without a configuration of its own.
func plainIssuer(claims map[string]any) identity.Issuer {
	i := identity.Issuer{Name: "example", Audiences: []string{"regate"}, InsecureHTTP: true, JWKSURL: "https://id.example.com/keys"}
	i.URL, _ = claims["iss"].(string)
	switch aud := claims["aud"].(type) {
	case string:
		i.Audiences = []string{aud}
	case []any:
		if len(aud) > 0 {
			if first, ok := aud[0].(string); ok {
				i.Audiences = []string{first}
			}
		}
	}
	return i
}

// maxClaims bounds a file of claims, in bytes. Tokens are 16 KiB at most.
const maxClaims = 1 << 20

// readClaims reads the claims of a token: a JSON object.
func readClaims(name string, stdin io.Reader) (map[string]any, error) {
	raw, err := readBounded(name, stdin, maxClaims)
	if err != nil {
		return nil, fmt.Errorf("read the claims: %w", err)
	}
	if text := bytes.TrimSpace(raw); bytes.HasPrefix(text, []byte("eyJ")) {
		return nil, fmt.Errorf("read the claims: %s holds a token; its claims are wanted, as a JSON object", name)
	}
	var claims map[string]any
	dec := json.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(&claims); err != nil || claims == nil || dec.More() || !utf8.Valid(raw) {
		return nil, fmt.Errorf("read the claims: %s does not hold one JSON object", name)
	}
	return claims, nil
}

// readBounded reads a file, or standard input for "-".
func readBounded(name string, stdin io.Reader, limit int64) ([]byte, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) > limit {
		return nil, errors.New(name + " is longer than " + byteSize(limit))
	}
	return raw, nil
}
