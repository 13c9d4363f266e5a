package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"github.com/regate-dev/regate/engine/identity/login"
)

func newTokenCmd() *cobra.Command {
	flags := &tokenFlags{}
	var exec bool
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Get a token from your identity provider and print it",
		Long: `Gets an access token and prints nothing else, so that it can stand for a
password. Machines authenticate with a client id and secret; people log in with
a browser (--login). The token is kept in the cache folder, readable by you
alone, until shortly before it expires.

Every flag can be an environment variable (--client-id is
REGATE_TOKEN_CLIENT_ID) or a line of a profile in token.yaml in regate's
configuration folder:

  profiles:
    default:
      issuer: https://id.example.com
      client_id: reporting-agent
      client_secret: file:/run/secrets/reporting-agent
    me:
      issuer: https://id.example.com
      client_id: regate-cli
      login: true

A client secret is a reference: env:NAME or file:/path.`,
		Example: `  PGPASSWORD=$(regate token) psql -h 127.0.0.1 -p 6432 -U agent shop
  regate token --profile me
  regate token --exec-credential   # what a kubeconfig of regate kubeconfig calls
  regate token --issuer http://127.0.0.1:9400 --client-id agent --client-secret env:AGENT_SECRET`,
		Args: wantNoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			token, err := flags.token(cmd)
			if err != nil {
				return err
			}
			if exec {
				credential, err := execCredential(token)
				if err != nil {
					return err
				}
				token = string(credential)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
			return err
		},
	}
	flags.add(cmd.Flags())
	cmd.Flags().BoolVar(&exec, "exec-credential", false, "print it as kubectl and its kin take it from a program (see regate kubeconfig)")
	return cmd
}

// tokenFlags are the flags that say which token a command uses.
type tokenFlags struct {
	set *pflag.FlagSet
}

// The names of the flags, which are also the keys of a profile (with
// underscores) and the environment variables (with REGATE_TOKEN_ in front).
const (
	tokenIssuer   = "issuer"
	tokenClient   = "client-id"
	tokenSecret   = "client-secret"
	tokenLogin    = "login"
	tokenScope    = "scope"
	tokenAudience = "audience"
	tokenResource = "resource"
	tokenID       = "id-token"
	tokenCA       = "ca-file"
	tokenTimeout  = "timeout"
	tokenNoCache  = "no-cache"
	tokenProfile  = "profile"
	tokenFile     = "token-config"
)

func (f *tokenFlags) add(set *pflag.FlagSet) {
	f.set = set
	set.String(tokenIssuer, "", "the issuer's URL")
	set.String(tokenClient, "", "the OAuth client")
	set.String(tokenSecret, "", "the client's secret: env:NAME or file:/path")
	set.Bool(tokenLogin, false, "log in as a person, with a browser")
	set.StringSlice(tokenScope, nil, "scopes to ask for")
	set.StringSlice(tokenAudience, nil, "audiences to ask for")
	set.String(tokenResource, "", "resource indicator to ask for (RFC 8707)")
	set.Bool(tokenID, false, "print the ID token instead of the access token")
	set.String(tokenCA, "", "PEM file with the authorities of the issuer's certificate")
	set.Duration(tokenTimeout, 0, "how long to wait (default 30s, with --login 5m)")
	set.Bool(tokenNoCache, false, "get a new token and do not keep it")
	set.String(tokenProfile, "", `profile of token.yaml (default "default")`)
	set.String(tokenFile, "", "file with profiles (default: token.yaml in regate's configuration folder)")
}

// token returns the token that the flags, the environment and the profile ask
// for. People see on standard error what they have to do.
func (f *tokenFlags) token(cmd *cobra.Command) (string, error) {
	v, err := f.settings()
	if err != nil {
		return "", err
	}
	o := login.Options{
		Issuer: v.GetString(tokenIssuer), ClientID: v.GetString(tokenClient), Login: v.GetBool(tokenLogin),
		Scopes: v.GetStringSlice(tokenScope), Audiences: v.GetStringSlice(tokenAudience), Resource: v.GetString(tokenResource),
		IDToken: v.GetBool(tokenID), Prompt: cmd.ErrOrStderr(),
	}
	if ref := v.GetString(tokenSecret); ref != "" {
		var literal bool
		if o.ClientSecret, literal, err = secretRef(ref); err != nil {
			return "", fmt.Errorf("--%s: %w", tokenSecret, err)
		}
		if literal && os.Getenv("REGATE_TOKEN_CLIENT_SECRET") != ref {
			fmt.Fprintf(cmd.ErrOrStderr(), "warning: the client secret is written out; use env:NAME or file:/path\n")
		}
	}
	if o.Issuer == "" || o.ClientID == "" {
		return "", &usageError{errors.New("an issuer and a client are needed: --issuer and --client-id, REGATE_TOKEN_ISSUER and REGATE_TOKEN_CLIENT_ID, or a profile in " + f.profileFile())}
	}
	if o.Client, err = httpClient(v.GetString(tokenCA)); err != nil {
		return "", fmt.Errorf("--%s: %w", tokenCA, err)
	}
	if dir, err := os.UserCacheDir(); err == nil && !v.GetBool(tokenNoCache) {
		o.CacheDir = filepath.Join(dir, "regate")
	}
	timeout := v.GetDuration(tokenTimeout)
	switch {
	case timeout < 0:
		return "", &usageError{fmt.Errorf("--%s is negative", tokenTimeout)}
	case timeout == 0 && o.Login:
		timeout = 5 * time.Minute
	case timeout == 0:
		timeout = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
	defer cancel()
	token, err := login.Token(ctx, o)
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	return token, nil
}

// settings joins the profile, the environment and the flags, the later over
// the earlier.
func (f *tokenFlags) settings() (*viper.Viper, error) {
	profile, err := f.profile()
	if err != nil {
		return nil, err
	}
	v := viper.New()
	v.SetEnvPrefix("REGATE_TOKEN")
	v.SetEnvKeyReplacer(strings.NewReplacer("-", "_"))
	v.AutomaticEnv()
	if err := v.MergeConfigMap(profile); err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	for _, name := range tokenKeys {
		if err := v.BindPFlag(name, f.set.Lookup(name)); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// tokenKeys are what a profile may say.
var tokenKeys = []string{
	tokenIssuer, tokenClient, tokenSecret, tokenLogin, tokenScope, tokenAudience, tokenResource, tokenID, tokenCA, tokenTimeout, tokenNoCache,
}

func (f *tokenFlags) text(flag, env string) (value string, given bool) {
	if fl := f.set.Lookup(flag); fl.Changed {
		return fl.Value.String(), true
	}
	value = os.Getenv(env)
	return value, value != ""
}

func (f *tokenFlags) profileFile() string {
	if name, ok := f.text(tokenFile, "REGATE_TOKEN_CONFIG"); ok {
		return name
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "regate", "token.yaml")
}

// profile reads the chosen profile, by flag names. A profile that was asked
// for must be there; the default one need not.
func (f *tokenFlags) profile() (map[string]any, error) {
	file := f.profileFile()
	name, asked := f.text(tokenProfile, "REGATE_TOKEN_PROFILE")
	if !asked {
		name = "default"
	}
	_, fileAsked := f.text(tokenFile, "REGATE_TOKEN_CONFIG")
	v := viper.NewWithOptions(viper.KeyDelimiter("\x00")) // a name may have dots
	v.SetConfigFile(file)
	v.SetConfigType("yaml")
	if err := v.ReadInConfig(); err != nil {
		if errors.Is(err, fs.ErrNotExist) && !asked && !fileAsked {
			return nil, nil
		}
		return nil, fmt.Errorf("profiles: %w", err)
	}
	for key := range v.AllSettings() {
		if key != "profiles" {
			return nil, fmt.Errorf("%s: unknown key %q", file, key)
		}
	}
	all := v.GetStringMap("profiles")
	raw, ok := all[strings.ToLower(name)]
	if !ok {
		if !asked {
			return nil, nil
		}
		return nil, fmt.Errorf("%s has no profile %q", file, name)
	}
	settings, ok := raw.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s: profile %q is not a list of settings", file, name)
	}
	profile := make(map[string]any, len(settings))
	for key, value := range settings {
		flag := strings.ReplaceAll(key, "_", "-")
		known := false
		for _, k := range tokenKeys {
			known = known || k == flag
		}
		if !known {
			return nil, fmt.Errorf("%s: profile %q: unknown key %q", file, name, key)
		}
		profile[flag] = value
	}
	return profile, nil
}

// secretRef resolves env:NAME and file:/path. Anything else is the secret
// itself, which literal tells.
func secretRef(ref string) (value string, literal bool, err error) {
	if name, ok := strings.CutPrefix(ref, "env:"); ok {
		if value = os.Getenv(name); value == "" {
			return "", false, fmt.Errorf("environment variable %s is not set", name)
		}
		return value, false, nil
	}
	if name, ok := strings.CutPrefix(ref, "file:"); ok {
		raw, err := os.ReadFile(name)
		if err != nil {
			return "", false, err
		}
		// Editors and echo end a file with a newline that is no part of it.
		if value = strings.TrimRight(string(raw), "\r\n"); value == "" {
			return "", false, fmt.Errorf("file %s is empty", name)
		}
		return value, false, nil
	}
	return ref, true, nil
}

// httpClient returns a client that trusts the authorities in a PEM file, or
// the system's where none is named.
func httpClient(caFile string) (*http.Client, error) {
	c := &http.Client{Timeout: 30 * time.Second}
	if caFile == "" {
		return c, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", caFile)
	}
	c.Transport = &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	return c, nil
}
