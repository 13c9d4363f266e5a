package input

// CommonAction is what `input.action` has for every protocol.
type CommonAction struct {
	// Verb is what the request asks for, in the protocol's own words; "connect"
	// at stage session.
	Verb string `json:"verb"`
	// Writes: the request changes something, or may.
	Writes bool `json:"writes"`
}

// CommonResource is what `input.resource` has for every protocol.
type CommonResource struct {
	Kind  string   `json:"kind"`  // what names are names of
	Names []string `json:"names"` // what the request is about, sorted
}
