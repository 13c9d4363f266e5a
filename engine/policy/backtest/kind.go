package backtest

import (
	"fmt"
	"slices"
	"strings"
)

// Kind is one way in which a candidate decides otherwise.
type Kind string

// The kinds of change.
const (
	NewlyAllowed    Kind = "newly-allowed"    // was denied or held, would pass
	NewlyApprovable Kind = "newly-approvable" // was denied, would be held
	ApprovalDropped Kind = "approval-dropped" // passed with an approval, would pass without
	NewlyUnmasked   Kind = "newly-unmasked"   // a mask that reaches the request would be gone
	WeakerMask      Kind = "weaker-mask"      // … would hide less, or other characters
	LimitRaised     Kind = "limit-raised"     // or gone
	RecordLowered   Kind = "record-lowered"   // less would be recorded
	LabelDropped    Kind = "label-dropped"    // later requests would not see a label

	NewlyDenied   Kind = "newly-denied" // was allowed or held, would be denied
	NewlyHeld     Kind = "newly-held"   // passed, would wait for a person
	NewlyMasked   Kind = "newly-masked"
	StrongerMask  Kind = "stronger-mask"
	LimitLowered  Kind = "limit-lowered"
	RecordRaised  Kind = "record-raised"
	NewlyLabelled Kind = "newly-labelled"

	ApprovalChanged Kind = "approval-changed" // by others, more or fewer, or for another time
	CandidateError  Kind = "candidate-error"  // the candidate fails on it, and so denies
)

// Direction says whether a change lets more pass.
type Direction string

// The directions.
const (
	Looser  Direction = "looser"
	Tighter Direction = "tighter"
	Other   Direction = "other"
)

// kinds are all of them, in the order of reports: what lets more pass first.
var kinds = []Kind{
	NewlyAllowed, NewlyApprovable, ApprovalDropped, NewlyUnmasked, WeakerMask, LimitRaised, RecordLowered, LabelDropped,
	NewlyDenied, NewlyHeld, NewlyMasked, StrongerMask, LimitLowered, RecordRaised, NewlyLabelled,
	ApprovalChanged, CandidateError,
}

// Kinds returns every kind in the order of reports.
func Kinds() []Kind { return slices.Clone(kinds) }

// Direction says whether the change lets more pass.
func (k Kind) Direction() Direction {
	switch i := slices.Index(kinds, k); {
	case i < 0 || i >= slices.Index(kinds, ApprovalChanged):
		return Other
	case i < slices.Index(kinds, NewlyDenied):
		return Looser
	}
	return Tighter
}

// ParseKinds reads names of kinds; looser and tighter stand for all of that
// direction, any for every kind.
func ParseKinds(names []string) ([]Kind, error) {
	wanted := map[Kind]bool{}
	for _, name := range names {
		found := false
		for _, k := range kinds {
			if name == "any" || name == string(k) || name == string(k.Direction()) && k.Direction() != Other {
				wanted[k], found = true, true
			}
		}
		if !found {
			all := make([]string, len(kinds))
			for i, k := range kinds {
				all[i] = string(k)
			}
			return nil, fmt.Errorf("%q is no kind of change: looser, tighter, any, %s", name, strings.Join(all, ", "))
		}
	}
	return slices.DeleteFunc(Kinds(), func(k Kind) bool { return !wanted[k] }), nil
}
