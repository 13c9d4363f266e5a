package approval

import (
	"context"
	"slices"
	"strings"
	"time"
)

// maxNote bounds what a person may add, in bytes.
const maxNote = 1 << 10

// Approve adds one person's yes. The ticket is approved once every
// requirement is met. The codes of errors: CodeSelf, CodeDelegated,
// CodeNotEligible, CodeDuplicate, CodeExpired, CodeResolved, CodeNotFound,
// CodeUnavailable. A ticket returned beside an error is the one that it is
// about.
func (d *Desk) Approve(ctx context.Context, id string, by Identity, note string) (*Ticket, error) {
	return d.change(ctx, id, func(t *Ticket, now time.Time) error {
		if err := t.decidable(by); err != nil {
			return err
		}
		who := approver(by)
		for _, a := range t.Approvals {
			if a.By.ID == who.ID && a.By.Issuer == who.Issuer {
				return fail(CodeDuplicate, "%s has approved %s already", who.ID, id)
			}
		}
		var meets []string
		for _, r := range t.Missing() {
			if r.takes(by.Subject) {
				meets = append(meets, r.ID)
			}
		}
		if len(meets) == 0 {
			return t.notEligible(who)
		}
		t.Approvals = append(slices.Clone(t.Approvals), Approval{By: who, At: now, Note: short(note), Meets: meets})
		if len(t.Missing()) == 0 {
			t.State = Approved
		}
		return nil
	})
}

// Deny ends a ticket by one person's no, also when others have approved it.
// Whoever could approve may deny. The codes are those of Approve.
func (d *Desk) Deny(ctx context.Context, id string, by Identity, reason string) (*Ticket, error) {
	return d.change(ctx, id, func(t *Ticket, now time.Time) error {
		if err := t.decidable(by); err != nil {
			return err
		}
		who := approver(by)
		if !slices.ContainsFunc(t.Requirements, func(r Requirement) bool { return r.takes(by.Subject) }) {
			return t.notEligible(who)
		}
		t.State = Denied
		t.Resolution = &Resolution{By: &who, At: now, Reason: short(reason)}
		return nil
	})
}

// Consume uses an approved ticket up. It succeeds once, whoever calls it.
// Codes: CodeNotApproved, CodeExpired, CodeResolved, CodeNotFound,
// CodeUnavailable.
func (d *Desk) Consume(ctx context.Context, id string) (*Ticket, error) {
	return d.change(ctx, id, func(t *Ticket, now time.Time) error {
		if err := t.open(); err != nil {
			return err
		}
		if t.State != Approved {
			return fail(CodeNotApproved, "%s waits for approval", id)
		}
		t.State = Consumed
		t.Resolution = &Resolution{At: now}
		return nil
	})
}

// Cancel ends an open ticket because its requester went away. Codes:
// CodeExpired, CodeResolved, CodeNotFound, CodeUnavailable.
func (d *Desk) Cancel(ctx context.Context, id, reason string) (*Ticket, error) {
	return d.change(ctx, id, func(t *Ticket, now time.Time) error {
		if err := t.open(); err != nil {
			return err
		}
		t.State = Cancelled
		t.Resolution = &Resolution{At: now, Reason: short(reason)}
		return nil
	})
}

// open returns why the ticket can no longer change.
func (t *Ticket) open() error {
	switch {
	case t.State == Expired:
		return fail(CodeExpired, "%s expired at %s", t.ID, t.ExpiresAt.UTC().Format(time.RFC3339))
	case !t.State.Open():
		return fail(CodeResolved, "%s is %s", t.ID, t.State)
	}
	return nil
}

// decidable returns why this person cannot decide on the ticket at all.
func (t *Ticket) decidable(by Identity) error {
	if err := t.open(); err != nil {
		return err
	}
	if by.Subject.ID == "" {
		return fail(CodeNotEligible, "the approver has no identity")
	}
	if same(by.Subject, t.Subject) || t.Actor != nil && same(by.Subject, *t.Actor) {
		return fail(CodeSelf, "%s cannot decide on its own request %s", by.Subject.ID, t.ID)
	}
	if by.Actor != nil && !same(by.Subject, *by.Actor) {
		return fail(CodeDelegated, "%s acts for %s: a person decides without an agent", by.Actor.ID, by.Subject.ID)
	}
	return nil
}

func (t *Ticket) notEligible(who Approver) error {
	var from []string
	for _, r := range t.Missing() {
		from = append(from, r.From...)
	}
	slices.Sort(from)
	return fail(CodeNotEligible, "%s cannot decide on %s, which asks for %s", who.ID, t.ID, strings.Join(slices.Compact(from), ", "))
}

func approver(by Identity) Approver {
	groups := by.Subject.Groups
	if groups == nil {
		groups = []string{}
	}
	return Approver{ID: by.Subject.ID, Issuer: by.Subject.Issuer, Groups: slices.Clone(groups)}
}

// short cuts a note at a character's start.
func short(note string) string {
	if len(note) <= maxNote {
		return note
	}
	return strings.ToValidUTF8(note[:maxNote], "")
}
