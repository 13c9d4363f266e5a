package identity

import "errors"

// The reason ids of this package. They are API: policies, logs, dashboards and
// agents match on them.
const (
	ReasonMissing           = "identity/missing"
	ReasonMalformed         = "identity/malformed"
	ReasonOversized         = "identity/oversized"
	ReasonUnknownIssuer     = "identity/unknown-issuer"
	ReasonIssuerUnavailable = "identity/issuer-unavailable"
	ReasonAlgorithm         = "identity/algorithm"
	ReasonType              = "identity/type"
	ReasonUnknownKey        = "identity/unknown-key"
	ReasonBadSignature      = "identity/bad-signature"
	ReasonExpired           = "identity/expired"
	ReasonNotYetValid       = "identity/not-yet-valid"
	ReasonTooOld            = "identity/too-old"
	ReasonWrongAudience     = "identity/wrong-audience"
	ReasonMissingClaim      = "identity/missing-claim"
	ReasonActor             = "identity/actor"
	ReasonInactive          = "identity/inactive"
	ReasonIntrospection     = "identity/introspection-failed"
	ReasonRevoked           = "identity/revoked"
	ReasonRevocationsStale  = "identity/revocations-unavailable"
)

// Error is a refusal. Its text is safe to show to whoever sent the token: it
// holds nothing of the token and nothing of regate's network.
type Error struct {
	Reason  string // one of the Reason constants
	Message string // what is wrong, one sentence
	Hint    string // what to do next, one sentence
	cause   error  // for the log, never for the agent
}

// Error returns the reason id and the message.
func (e *Error) Error() string { return e.Reason + ": " + e.Message }

// Unwrap returns what lies behind the refusal, such as a failed fetch of keys.
// It may name hosts of the issuer: log it, do not send it to the agent.
func (e *Error) Unwrap() error { return e.cause }

// Is makes errors.Is(err, &Error{Reason: ReasonExpired}) compare reasons.
func (e *Error) Is(target error) bool {
	var other *Error
	return errors.As(target, &other) && other.Reason == e.Reason
}

var texts = map[string]struct{ message, hint string }{
	ReasonMissing:           {"no token was sent", "Send a token of a configured issuer, for example the output of `regate token`."},
	ReasonMalformed:         {"the token is not a well-formed signed JWT", "Send the issuer's JWT access token unchanged, without a prefix or line breaks."},
	ReasonOversized:         {"the token is larger than 16 KiB", "Ask the issuer for fewer claims or groups in the token."},
	ReasonUnknownIssuer:     {"the token is from an issuer that is not configured", "Get a token from an issuer that the gateway trusts."},
	ReasonIssuerUnavailable: {"the issuer's keys cannot be fetched at present", "Try again in a few seconds; tell the gateway's operator if it lasts."},
	ReasonAlgorithm:         {"the token is signed with an algorithm that is not allowed for its issuer", "Have the issuer sign with an allowed asymmetric algorithm such as RS256 or ES256."},
	ReasonType:              {"the token is of a type that is not accepted for its issuer", "Send an access token, not another kind of token."},
	ReasonUnknownKey:        {"the token is signed with a key that its issuer does not publish", "Get a new token; the key may have been withdrawn."},
	ReasonBadSignature:      {"the token's signature is wrong", "Send the token exactly as the issuer gave it."},
	ReasonExpired:           {"the token has expired", "Get a new token and connect again."},
	ReasonNotYetValid:       {"the token is not valid yet", "Check the clocks of the issuer and the gateway."},
	ReasonTooOld:            {"the token was issued longer ago than the gateway accepts", "Get a new token and connect again."},
	ReasonWrongAudience:     {"the token is meant for another audience", "Ask the issuer for a token with the gateway's audience."},
	ReasonMissingClaim:      {"the token lacks a claim that the gateway requires", "Have the issuer add the claim, or use an identity that has it."},
	ReasonActor:             {"the token's act claim does not name an accepted actor", "Get a token whose act claim has a sub and an accepted issuer."},
	ReasonInactive:          {"the issuer says that the token is no longer active", "Get a new token and connect again."},
	ReasonIntrospection:     {"the issuer could not be asked whether the token is still active", "Try again in a few seconds; tell the gateway's operator if it lasts."},
	ReasonRevoked:           {"access was revoked", "Ask the gateway's operator why; a new token may be needed."},
	ReasonRevocationsStale:  {"the list of revocations is not up to date", "Try again in a few seconds; tell the gateway's operator if it lasts."},
}

// Refusal returns the Error for a reason of this package, with the cause kept
// for the log. An unknown reason becomes ReasonMalformed.
func Refusal(reason string, cause error) *Error {
	t, ok := texts[reason]
	if !ok {
		reason = ReasonMalformed
		t = texts[reason]
	}
	return &Error{Reason: reason, Message: t.message, Hint: t.hint, cause: cause}
}
