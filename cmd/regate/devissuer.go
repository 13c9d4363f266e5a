package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/regate-dev/regate/engine/identity/devissuer"
)

func newDevIssuerCmd() *cobra.Command {
	var (
		listen, file   string
		clients, users []string
		flags          devissuer.Config
	)
	cmd := &cobra.Command{
		Use:   "dev-issuer",
		Short: "Run an OpenID Connect issuer for development, on loopback",
		Long: `Runs an issuer for trying regate before there is an identity provider: client
credentials for agents, login with a browser for people (choose a user from a
list), token exchange, introspection, revocation and key rotation. Everything
is in memory and gone when it stops. It listens on loopback only.

--config names a YAML file with the same settings and more:

  audiences: [regate]
  token_lifetime: 10m
  clients:
    - {id: agent, secret: env:AGENT_SECRET, groups: [analysts], scopes: [db:read]}
    - {id: bot, secret: file:/run/bot, subject: alice, actor: {subject: bot-7}}
  users:
    - {id: carol, name: Carol, groups: [dba]}`,
		Example: `  regate dev-issuer --client agent:s3cret:analysts --user carol:dba
  regate token --issuer http://127.0.0.1:9400 --client-id agent --client-secret env:AGENT_SECRET
  regate token --issuer http://127.0.0.1:9400 --client-id regate-cli --login
  curl -u agent:s3cret -X POST http://127.0.0.1:9400/dev/rotate`,
		Args: wantNoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := devIssuerConfig(file, flags, clients, users)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return runDevIssuer(ctx, cmd, listen, cfg)
		},
	}
	f := cmd.Flags()
	f.StringVar(&listen, "listen", "127.0.0.1:9400", "loopback address")
	f.StringVar(&file, "config", "", "YAML file with clients and users")
	f.StringVar(&flags.Issuer, "issuer", "", "the iss of the tokens (default: http:// and the address)")
	f.StringSliceVar(&flags.Audiences, "audience", nil, "audiences of the tokens, the first by default (default regate)")
	f.DurationVar(&flags.TokenLifetime, "token-lifetime", 0, "how long tokens are valid (default 10m)")
	f.StringVar(&flags.Algorithm, "algorithm", "", "ES256 or RS256 (default ES256)")
	f.StringArrayVar(&clients, "client", nil, "a client, id:secret:group1,group2; may be repeated")
	f.StringArrayVar(&users, "user", nil, "a user, id:group1,group2; may be repeated")
	return cmd
}

// devIssuerConfig joins the file and the flags. Flags win; clients and users
// of both are there.
func devIssuerConfig(file string, flags devissuer.Config, clients, users []string) (devissuer.Config, error) {
	var cfg devissuer.Config
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return cfg, fmt.Errorf("--config: %w", err)
		}
		defer f.Close()
		dec := yaml.NewDecoder(f)
		dec.KnownFields(true)
		if err := dec.Decode(&cfg); err != nil {
			return cfg, fmt.Errorf("--config %s: %w", file, err)
		}
		for i := range cfg.Clients {
			c := &cfg.Clients[i]
			if c.Secret, _, err = secretRef(c.Secret); err != nil {
				return cfg, fmt.Errorf("--config %s: client %q: secret: %w", file, c.ID, err)
			}
		}
	}
	if flags.Issuer != "" {
		cfg.Issuer = flags.Issuer
	}
	if len(flags.Audiences) > 0 {
		cfg.Audiences = flags.Audiences
	}
	if flags.TokenLifetime != 0 {
		cfg.TokenLifetime = flags.TokenLifetime
	}
	if flags.Algorithm != "" {
		cfg.Algorithm = flags.Algorithm
	}
	for _, s := range clients {
		c, err := devissuer.ParseClient(s)
		if err != nil {
			return cfg, &usageError{fmt.Errorf("--client: %w", err)}
		}
		cfg.Clients = append(cfg.Clients, c)
	}
	for _, s := range users {
		u, err := devissuer.ParseUser(s)
		if err != nil {
			return cfg, &usageError{fmt.Errorf("--user: %w", err)}
		}
		cfg.Users = append(cfg.Users, u)
	}
	return cfg, nil
}

func runDevIssuer(ctx context.Context, cmd *cobra.Command, listen string, cfg devissuer.Config) error {
	l, err := devissuer.Listen(ctx, listen)
	if err != nil {
		return err
	}
	defer l.Close()
	if cfg.Issuer == "" {
		cfg.Issuer = "http://" + l.Addr().String()
	}
	issuer, err := devissuer.New(cfg)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: issuer, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "issuer     %s\ndiscovery  %s/.well-known/openid-configuration\n", cfg.Issuer, cfg.Issuer)
	fmt.Fprintf(out, "clients    %d, users %d\nready\n", len(cfg.Clients), len(cfg.Users))
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	select {
	case err = <-done:
	case <-ctx.Done():
		// Requests take milliseconds here; one second ends them well.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err = server.Shutdown(ctx); err != nil {
			err = server.Close()
		}
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}
