package login

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// cacheKey names the token by all that decides what it is. The secret is part
// of it, by its hash: with a changed secret the old token is not used.
func (o *Options) cacheKey() string {
	raw, err := json.Marshal([]any{o.Issuer, o.ClientID, o.ClientSecret, o.Login, o.Scopes, o.Audiences, o.Resource, o.IDToken})
	if err != nil {
		panic(err) // strings and booleans always marshal
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:16])
}

// cache is one token in one file. An empty dir caches nothing.
type cache struct {
	dir, key string
	now      func() time.Time
}

type cached struct {
	Token string    `json:"token"`
	Until time.Time `json:"until"` // use it no longer
}

func (c cache) path() string { return filepath.Join(c.dir, "token-"+c.key+".json") }

// load returns the token, or "" when there is none to be used. A file that
// others can read or write is not believed.
func (c cache) load() string {
	if c.dir == "" {
		return ""
	}
	info, err := os.Lstat(c.path())
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return ""
	}
	raw, err := os.ReadFile(c.path())
	if err != nil {
		return ""
	}
	var t cached
	if json.Unmarshal(raw, &t) != nil || !c.now().Before(t.Until) {
		return ""
	}
	return t.Token
}

// save keeps a token until a minute before it expires, or a fifth of its time
// where that is less. A token whose end is not known is not kept.
func (c cache) save(token string, expiry time.Time) error {
	if c.dir == "" {
		return nil
	}
	if exp := expiryOf(token); !exp.IsZero() && (expiry.IsZero() || exp.Before(expiry)) {
		expiry = exp
	}
	if expiry.IsZero() {
		return nil
	}
	margin := min(time.Minute, expiry.Sub(c.now())/5)
	raw, err := json.Marshal(cached{Token: token, Until: expiry.Add(-margin)})
	if err != nil {
		return fmt.Errorf("keep the token: %w", err)
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return fmt.Errorf("keep the token: %w", err)
	}
	// CreateTemp makes the file 0600; the rename never shows half a token.
	f, err := os.CreateTemp(c.dir, ".token-*")
	if err != nil {
		return fmt.Errorf("keep the token: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(raw)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), c.path())
	}
	if err != nil {
		return fmt.Errorf("keep the token: %w", err)
	}
	return nil
}

// expiryOf reads exp of a JWT without proving anything: it only decides when
// to ask again.
func expiryOf(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}
	}
	var claims struct {
		Exp float64 `json:"exp"`
	}
	if json.Unmarshal(raw, &claims) != nil || claims.Exp <= 0 || claims.Exp > 1e11 {
		return time.Time{}
	}
	return time.Unix(int64(claims.Exp), 0)
}
