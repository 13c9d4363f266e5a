package engine

import (
	"time"

	"github.com/regate-dev/regate/engine/input"
)

// Preview writes the input documents that a session would have its requests
// decided on, by the session's own code and without a gate: nothing is
// verified, evaluated, held or recorded. It is for people who write policies.
type Preview struct {
	scene
	now   time.Time
	turns uint64
}

// PreviewSession is the session id in the documents of a Preview: no real
// session has it.
const PreviewSession = "00000000000000000000000000"

// NewPreview returns the preview of a session that h opens at now, which is
// also when all its requests are made. The identity in h is taken as it is.
func NewPreview(h Hello, now time.Time) *Preview {
	return &Preview{scene: newScene(PreviewSession, h, now), now: now}
}

// Open is the document of stage "session". It is the first of a session; a
// preview that does not ask for it counts it all the same.
func (p *Preview) Open() *input.Document {
	return p.document(1, p.hello.opening(), input.StageSession, p.now, input.Usage{})
}

// Request is the document of the session's next request, at stage "request".
// Requests before it are taken to have been allowed and to have returned
// nothing.
func (p *Preview) Request(req *Request) *input.Document {
	p.turns++
	used := input.Usage{Requests: int64(p.turns)} // the opening is one
	return p.document(p.turns+1, req, input.StageRequest, p.now, used)
}
