package engine

import (
	"context"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/usage"
)

// Shows reports whether policies would let the request through, at once or
// after an approval. It is for what an agent is told of: the items of a list.
// Nothing is held, counted or recorded; the request itself is decided when it
// comes. A failure hides.
func (s *Session) Shows(ctx context.Context, req *Request) (shown bool) {
	defer func() {
		if p := recover(); p != nil {
			s.gate.cfg.Logger.WithField("session", s.id).Errorf("panic while deciding on an item: %v", p)
			shown = false
		}
	}()
	turn := s.newTurn(req, input.StageRequest)
	s.takeBack(turn)
	if a := s.spending(); a != nil {
		turn.doc.Usage = spent(a.Count(usage.Counts{}))
	}
	return s.gate.cfg.Policy.Evaluate(ctx, turn.doc).Effect != policy.Deny
}
