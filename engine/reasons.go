package engine

// Reason ids of the gate itself. They are API: agents, alerts and tests match
// on them. Policies, identity and approval have their own.
const (
	ReasonInternal        = "engine/internal"           // a defect; nothing was let through
	ReasonRecordDown      = "record/unavailable"        // the journal cannot take events and record.mode is strict
	ReasonRecordTooLarge  = "record/too-large"          // an event is larger than the journal takes
	ReasonPending         = "approval/pending"          // nobody has decided yet
	ReasonDenied          = "approval/denied"           // an approver said no
	ReasonHoldFailed      = "approval/unavailable"      // the approval store cannot be reached
	ReasonCancelled       = "approval/cancelled"        // the agent gave up while the request was held
	ReasonExpired         = "identity/expired"          // the session's token has expired
	ReasonDraining        = "engine/draining"           // the gateway is shutting down
	ReasonLabels          = "engine/labels-unavailable" // the labels of the task cannot be read or kept
	ReasonTooManySessions = "engine/too-many-sessions"  // no room for another session
)
