package prove

import (
	"context"
	"strings"
	"sync"

	"github.com/regate-dev/regate/engine/policy"
)

// overlays keeps the set over each data that tests put in place of the
// bundles': there are few of them, used by many inputs.
type overlays struct {
	set *policy.Set

	mu   sync.Mutex
	sets map[string]*policy.Set
}

// maxOverlays bounds what is kept.
const maxOverlays = 256

func newOverlays(set *policy.Set) *overlays {
	return &overlays{set: set, sets: map[string]*policy.Set{}}
}

func (o *overlays) with(ctx context.Context, data []policy.Override) (*policy.Set, error) {
	if len(data) == 0 {
		return o.set, nil
	}
	var key strings.Builder
	for _, d := range data {
		key.WriteString(strings.Join(d.Path, "/") + "=" + d.Value.String() + "\n")
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if s, ok := o.sets[key.String()]; ok {
		return s, nil
	}
	s, err := o.set.WithData(ctx, data)
	if err != nil {
		return nil, err
	}
	if len(o.sets) >= maxOverlays {
		clear(o.sets)
	}
	o.sets[key.String()] = s
	return s, nil
}
