package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"
)

// introspector asks an issuer whether a token is still active (RFC 7662).
type introspector struct {
	cfg    Introspection
	client *http.Client
	source *source
	clock  func() time.Time
	group  singleflight.Group
}

func newIntrospector(cfg Introspection, client *http.Client, src *source, clock func() time.Time) *introspector {
	switch {
	case cfg.CacheFor == 0:
		cfg.CacheFor = 10 * time.Second
	case cfg.CacheFor < 0:
		cfg.CacheFor = 0
	}
	return &introspector{cfg: cfg, client: client, source: src, clock: clock}
}

// check returns until when "active" may be believed, or a refusal.
func (i *introspector) check(ctx context.Context, digest, token string) (time.Time, error) {
	// Requests that carry the same token at the same moment ask once.
	ch := i.group.DoChan(digest, func() (any, error) {
		asked := i.clock()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*fetchTimeout)
		defer cancel()
		active, err := i.ask(ctx, token)
		if err != nil {
			return nil, Refusal(ReasonIntrospection, err)
		}
		if !active {
			return nil, Refusal(ReasonInactive, nil)
		}
		return asked.Add(i.cfg.CacheFor), nil
	})
	select {
	case <-ctx.Done():
		return time.Time{}, Refusal(ReasonIntrospection, ctx.Err())
	case res := <-ch:
		if res.Err != nil {
			return time.Time{}, res.Err
		}
		until, ok := res.Val.(time.Time)
		if !ok {
			return time.Time{}, Refusal(ReasonIntrospection, nil)
		}
		return until, nil
	}
}

func (i *introspector) ask(ctx context.Context, token string) (bool, error) {
	endpoint := i.cfg.URL
	if endpoint == "" {
		meta, err := i.source.metadata(ctx)
		if err != nil {
			return false, err
		}
		if endpoint = meta.IntrospectionURL; endpoint == "" {
			return false, errors.New("the discovery document has no introspection_endpoint")
		}
	}
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	// RFC 6749 section 2.3.1: both are form-encoded inside basic.
	req.SetBasicAuth(url.QueryEscape(i.cfg.ClientID), url.QueryEscape(i.cfg.ClientSecret))
	resp, err := i.client.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return false, fmt.Errorf("the introspection endpoint answered %s", resp.Status)
	}
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return false, err
	}
	var body struct {
		Active *bool `json:"active"`
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		// The response may repeat what the token says; keep it out of the log.
		return false, errors.New("the introspection endpoint did not answer in JSON")
	}
	if body.Active == nil {
		return false, errors.New("the introspection response has no active member")
	}
	return *body.Active, nil
}
