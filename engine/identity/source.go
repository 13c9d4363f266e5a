package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// discoverEvery is how long a discovery document is used. jwks_uri changes
// rarely; a failed fetch of keys asks for it anew at once.
const discoverEvery = time.Hour

// source knows where an issuer's documents are and fetches them.
type source struct {
	cfg    Issuer
	client *http.Client
	clock  func() time.Time

	mu       sync.Mutex
	meta     metadata
	metaAt   time.Time // zero: not known
	metaStop bool      // the last fetch of keys failed: discover again
}

// metadata is what regate reads of a discovery document.
type metadata struct {
	JWKSURL          string `json:"jwks_uri"`
	IntrospectionURL string `json:"introspection_endpoint"`
}

func newSource(cfg Issuer, client *http.Client, clock func() time.Time) *source {
	return &source{cfg: cfg, client: client, clock: clock}
}

// discovers tells whether a discovery document is needed at all.
func (s *source) discovers() bool {
	return s.cfg.JWKSURL == "" || (s.cfg.Introspection != nil && s.cfg.Introspection.URL == "")
}

// metadata returns the discovery document's content, fetched when old.
func (s *source) metadata(ctx context.Context) (metadata, error) {
	if !s.discovers() {
		return metadata{JWKSURL: s.cfg.JWKSURL}, nil
	}
	s.mu.Lock()
	meta, fresh := s.meta, !s.metaAt.IsZero() && s.clock().Sub(s.metaAt) < discoverEvery && !s.metaStop
	known := !s.metaAt.IsZero()
	s.mu.Unlock()
	if fresh {
		return meta, nil
	}
	next, err := s.discover(ctx)
	if err != nil {
		if known {
			// The last document still says where the keys are; the fetch of
			// keys itself tells whether the issuer is there.
			return meta, nil
		}
		return metadata{}, fmt.Errorf("discovery: %w", err)
	}
	s.mu.Lock()
	s.meta, s.metaAt, s.metaStop = next, s.clock(), false
	s.mu.Unlock()
	return next, nil
}

func (s *source) discover(ctx context.Context) (metadata, error) {
	var meta metadata
	ctx = oidc.ClientContext(ctx, s.client)
	if s.cfg.DiscoveryURL == "" {
		provider, err := oidc.NewProvider(ctx, s.cfg.URL)
		if err != nil {
			return meta, err
		}
		if err := provider.Claims(&meta); err != nil {
			return meta, err
		}
	} else {
		raw, err := s.get(ctx, s.cfg.DiscoveryURL)
		if err != nil {
			return meta, err
		}
		var doc struct {
			Issuer string `json:"issuer"`
			metadata
		}
		if err := json.Unmarshal(raw, &doc); err != nil {
			return meta, err
		}
		if doc.Issuer != s.cfg.URL {
			return meta, fmt.Errorf("the document is of issuer %q, not %q", doc.Issuer, s.cfg.URL)
		}
		meta = doc.metadata
	}
	if s.cfg.JWKSURL != "" {
		meta.JWKSURL = s.cfg.JWKSURL
	}
	if meta.JWKSURL == "" {
		return meta, errors.New("the document has no jwks_uri")
	}
	return meta, nil
}

// keys fetches the issuer's JWKS document.
func (s *source) keys(ctx context.Context) ([]byte, error) {
	meta, err := s.metadata(ctx)
	if err != nil {
		return nil, err
	}
	raw, err := s.get(ctx, meta.JWKSURL)
	if err != nil {
		s.mu.Lock()
		s.metaStop = true
		s.mu.Unlock()
		return nil, fmt.Errorf("keys: %w", err)
	}
	return raw, nil
}

func (s *source) get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json, application/jwk-set+json")
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", strings.SplitN(url, "?", 2)[0], resp.Status)
	}
	return io.ReadAll(resp.Body)
}
