package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// defaultAdminURL is where a gateway with default settings has its admin API.
const defaultAdminURL = "http://127.0.0.1:8411"

// adminFlags say which gateway a command talks to, and as whom.
type adminFlags struct {
	set   *pflag.FlagSet
	token tokenFlags
}

const (
	adminURL     = "url"
	adminToken   = "token"
	adminCA      = "gateway-ca-file"
	adminTimeout = 30 * time.Second
)

// adminHelp ends the help of the commands that talk to a gateway.
const adminHelp = `
The gateway's admin API is at --url (REGATE_URL). The token comes from
REGATE_TOKEN or --token (env:NAME or file:/path); without these it is got as
'regate token' gets it, so that --login --issuer … --client-id …, or a profile
of token.yaml, logs you in.`

func (f *adminFlags) add(cmd *cobra.Command) {
	f.set = cmd.PersistentFlags()
	f.set.String(adminURL, "", `the gateway's admin API (default "`+defaultAdminURL+`")`)
	f.set.String(adminToken, "", "your token: env:NAME or file:/path (default: env:REGATE_TOKEN, or log in)")
	f.set.String(adminCA, "", "PEM file with the authorities of the gateway's certificate")
	f.token.add(f.set)
}

// given returns a flag or else an environment variable.
func (f *adminFlags) given(flag, env string) string {
	if fl := f.set.Lookup(flag); fl.Changed {
		return fl.Value.String()
	}
	return os.Getenv(env)
}

// client returns a client of the gateway. It gets a token now, so that what
// the login has to say comes before any output.
func (f *adminFlags) client(cmd *cobra.Command) (*adminClient, error) {
	base := f.given(adminURL, "REGATE_URL")
	if base == "" {
		base = defaultAdminURL
	}
	u, err := adminBase(base)
	if err != nil {
		return nil, &usageError{fmt.Errorf("--%s: %w", adminURL, err)}
	}
	c := &adminClient{base: u}
	if c.http, err = httpClient(f.given(adminCA, "REGATE_GATEWAY_CA_FILE")); err != nil {
		return nil, fmt.Errorf("--%s: %w", adminCA, err)
	}
	c.http.Timeout = adminTimeout
	// A token is not carried to wherever an answer points.
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	switch ref := f.given(adminToken, ""); {
	case ref != "":
		var literal bool
		if c.token, literal, err = secretRef(ref); err != nil {
			return nil, fmt.Errorf("--%s: %w", adminToken, err)
		}
		if literal {
			fmt.Fprintln(cmd.ErrOrStderr(), "warning: a token on the command line is seen by others on this machine; use REGATE_TOKEN, env:NAME or file:/path")
		}
	case os.Getenv("REGATE_TOKEN") != "":
		c.token = os.Getenv("REGATE_TOKEN")
	default:
		if c.token, err = f.token.token(cmd); err != nil {
			return nil, err
		}
	}
	c.token = strings.TrimSpace(c.token)
	return c, nil
}

// adminBase reads the address of an admin API. Tokens do not cross a network
// in clear.
func adminBase(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, err
	}
	host := net.ParseIP(u.Hostname())
	switch {
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%q is not an address such as https://regate.example.com:8411", s)
	case u.Scheme == "https":
	case u.Scheme == "http" && (u.Hostname() == "localhost" || host != nil && host.IsLoopback()):
	case u.Scheme == "http":
		return nil, errors.New("your token would cross the network in clear: use https")
	default:
		return nil, fmt.Errorf("%q is neither http nor https", s)
	}
	return u, nil
}

// adminClient talks to a gateway's admin API.
type adminClient struct {
	base  *url.URL
	http  *http.Client
	token string
}

// maxAnswer bounds an answer, in bytes: a list of the longest tickets.
const maxAnswer = 256 << 20

// adminProblem is an answer that is an error (RFC 9457).
type adminProblem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Hint   string `json:"hint"`
	Reason string `json:"reason"`
}

func (p *adminProblem) Error() string {
	msg := p.Detail
	if msg == "" {
		msg = p.Title
	}
	if p.Hint != "" {
		msg += " (" + p.Hint + ")"
	}
	if p.Reason != "" {
		msg = p.Reason + ": " + msg
	}
	return plainText(msg)
}

// call sends a request and reads the answer into out, where it is not nil.
func (c *adminClient) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(raw)
	}
	u := c.base.JoinPath(path)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := c.http.Do(req)
	if err != nil {
		var e *url.Error
		if errors.As(err, &e) {
			err = e.Err
		}
		return fmt.Errorf("the gateway at %s does not answer: %w", c.base, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("read the gateway's answer: %w", err)
	case len(raw) > maxAnswer:
		return errors.New("the gateway's answer is too long")
	case resp.StatusCode/100 != 2:
		return problemOf(resp, raw)
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("read the gateway's answer: %w", err)
	}
	return nil
}

func problemOf(resp *http.Response, raw []byte) error {
	p := &adminProblem{}
	if t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err == nil && t == "application/problem+json" && json.Unmarshal(raw, p) == nil {
		return p
	}
	return fmt.Errorf("the answer is %s, not that of a regate admin API", plainText(resp.Status))
}
