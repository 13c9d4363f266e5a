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

// Decidable returns why a person cannot approve this ticket now, nil where they
// can: what Approve would say, to be shown beforehand.
func (t *Ticket) Decidable(by Identity) error {
	if err := t.decidable(by); err != nil {
		return err
	}
	who := approver(by)
	if slices.ContainsFunc(t.Approvals, func(a Approval) bool { return a.By.ID == who.ID && a.By.Issuer == who.Issuer }) {
		return fail(CodeDuplicate, "%s has approved %s already", who.ID, t.ID)
	}
	if !slices.ContainsFunc(t.Missing(), func(r Requirement) bool { return r.takes(by.Subject) }) {
		return t.notEligible(who)
	}
	return nil
}
