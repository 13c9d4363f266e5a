package approval

import (
	"errors"
	"fmt"
)

// The ids of errors. They are API: callers and users match on them.
const (
	CodeSelf        = "approval/self"             // the requester cannot decide on its own request
	CodeDelegated   = "approval/delegated"        // an agent cannot decide for a person
	CodeNotEligible = "approval/not-eligible"     // no open requirement counts this person
	CodeDuplicate   = "approval/duplicate"        // this person approved already
	CodeExpired     = "approval/expired"          // the ticket ran out
	CodeResolved    = "approval/already-resolved" // the ticket is consumed, denied or cancelled
	CodeNotApproved = "approval/not-approved"     // a pending ticket cannot be consumed
	CodeNotFound    = "approval/not-found"        // no such ticket
	CodeTooLarge    = "approval/too-large"        // the request is longer than a ticket holds
	CodeTooMany     = "approval/too-many"         // the requester has too many open tickets
	CodeInvalid     = "approval/invalid"          // the ticket lacks what it must have
	CodeUnavailable = "approval/unavailable"      // the bucket cannot be read or written
)

// Error is every error of this package that has a code. Compare with Is and an
// Error that holds the code alone, or use Code.
type Error struct {
	Code    string
	Message string
	Err     error // what was behind it; nil for most
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Message, e.Err)
	}
	return e.Code + ": " + e.Message
}

func (e *Error) Unwrap() error { return e.Err }

// Code returns the code of an error of this package, "" for others.
func Code(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func fail(code, format string, args ...any) error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

func unavailable(err error, format string, args ...any) error {
	return &Error{Code: CodeUnavailable, Message: fmt.Sprintf(format, args...), Err: err}
}
