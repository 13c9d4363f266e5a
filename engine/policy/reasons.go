package policy

// The engine's own reason ids. They are API: tests, dashboards and agents rely
// on them.
const (
	ReasonNoBundle    = "engine/no-bundle"
	ReasonNoAllow     = "engine/no-allow"
	ReasonError       = "engine/error"
	ReasonTimeout     = "engine/timeout"
	ReasonUnsupported = "engine/unsupported-obligation"
)

// engineOwner is the owner of the engine's own reasons.
const engineOwner = "engine"

var engineReasons = map[string]Reason{
	ReasonNoBundle: {
		Msg:  "no policy is in force",
		Hint: "The gateway denies everything until each of its policy bundles has loaded; its operator sees why in the status.",
	},
	ReasonNoAllow: {
		Msg:  "no policy allows this",
		Hint: "Ask the owner of the target's policy for a rule that allows it.",
	},
	ReasonError: {
		Msg:  "the policies could not be evaluated",
		Hint: "Nothing is wrong with the request itself that you can see; the gateway's operator finds the error in the record.",
	},
	ReasonTimeout: {
		Msg:  "the policies took too long",
		Hint: "Try again; if it happens again, tell the gateway's operator.",
	},
	ReasonUnsupported: {
		Msg:  "a policy asks for something that cannot be carried out here",
		Hint: "The gateway denies rather than leave an obligation out.",
	},
}

// engineReason returns the engine's reason with that id, as a denial.
func engineReason(id string) Reason {
	r := engineReasons[id]
	r.ID, r.Effect, r.Owner = id, Deny, engineOwner
	return r
}
