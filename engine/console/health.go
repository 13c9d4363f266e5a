package console

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// checkTimeout bounds one dependency's check: a probe that hangs tells less
// than one that fails.
const checkTimeout = 3 * time.Second

// DependencyState is one line of /readyz and of the status: how a dependency
// is at present.
type DependencyState struct {
	Name  string `json:"name"`
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

func (c *Console) health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"ok":true}` + "\n"))
}

func (c *Console) ready(w http.ResponseWriter, r *http.Request) {
	states, ok := c.Health(r.Context())
	if !c.cfg.Details && !c.holdsRole(r) {
		for i := range states {
			states[i].Error = ""
		}
	}
	w.Header().Set("Content-Type", "application/json")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(struct {
		OK           bool              `json:"ok"`
		Dependencies []DependencyState `json:"dependencies"`
	}{ok, states})
}

func (c *Console) holdsRole(r *http.Request) bool {
	if r.Header.Get("Authorization") == "" {
		return false
	}
	who, err := c.authenticate(r.Context(), r)
	return err == nil && who.Any()
}

// Health checks all dependencies at once.
func (c *Console) Health(ctx context.Context) ([]DependencyState, bool) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	states := make([]DependencyState, len(c.cfg.Dependencies))
	var wg sync.WaitGroup
	for i, d := range c.cfg.Dependencies {
		wg.Go(func() {
			states[i] = DependencyState{Name: d.Name, OK: true}
			if err := d.Check(ctx); err != nil {
				states[i].OK, states[i].Error = false, err.Error()
			}
		})
	}
	wg.Wait()
	ok := true
	for _, s := range states {
		ok = ok && s.OK
	}
	return states, ok
}

func (c *Console) status(ctx context.Context, who *Caller, _ *http.Request) (int, any, error) {
	if !who.Any() {
		return 0, nil, forbidden("viewer")
	}
	states, ok := c.Health(ctx)
	return http.StatusOK, struct {
		Ready        bool              `json:"ready"`
		Dependencies []DependencyState `json:"dependencies"`
		Gateway      any               `json:"gateway"`
	}{ok, states, c.cfg.Status()}, nil
}

func (c *Console) sessions(_ context.Context, who *Caller, _ *http.Request) (int, any, error) {
	if !who.Viewer && !who.Auditor && !who.Operator {
		return 0, nil, forbidden("viewer")
	}
	return http.StatusOK, struct {
		Sessions any `json:"sessions"`
	}{c.cfg.Sessions()}, nil
}
