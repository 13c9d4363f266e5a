package approval

import (
	"slices"

	"github.com/regate-dev/regate/engine/input"
)

// Concerns tells whether a ticket is any business of a principal without a
// role: its requester, its actor, or somebody whom a requirement counts.
func (t *Ticket) Concerns(p input.Principal) bool {
	if same(p, t.Subject) || t.Actor != nil && same(p, *t.Actor) {
		return true
	}
	return slices.ContainsFunc(t.Requirements, func(r Requirement) bool { return r.takes(p) })
}
