package record

import "strconv"

// Kind says what an event is. The numbers are part of the format.
type Kind uint8

// The kinds of events.
const (
	KindOpen     Kind = 1  // Open: who, to what, from where; the first event of a session
	KindPart     Kind = 2  // Part: a piece of JSON that later events refer to by index
	KindRequest  Kind = 3  // Request: the input document of one decision
	KindDecision Kind = 4  // Decision
	KindHold     Kind = 5  // Hold: a request waits for approval
	KindApproval Kind = 6  // Approval: a held request was approved, denied, or lapsed
	KindForward  Kind = 7  // Forward: a request went to the target
	KindChunk    Kind = 8  // Chunk: what the agent was sent
	KindOutcome  Kind = 9  // Outcome: how a request ended
	KindLoss     Kind = 10 // Loss: events that may be missing
	KindClose    Kind = 11 // Close: the signed receipt; the last event of a session
	KindNote     Kind = 12 // Note: anything else worth knowing, e.g. a revocation
)

var kindNames = [...]string{
	KindOpen: "open", KindPart: "part", KindRequest: "request", KindDecision: "decision",
	KindHold: "hold", KindApproval: "approval", KindForward: "forward", KindChunk: "chunk",
	KindOutcome: "outcome", KindLoss: "loss", KindClose: "close", KindNote: "note",
}

// String returns the kind's name, or its number where this version knows none.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return "kind-" + strconv.Itoa(int(k))
}
