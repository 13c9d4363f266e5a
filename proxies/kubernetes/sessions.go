package kubernetes

import (
	"crypto/sha256"
	"time"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/input"
)

// An agent's requests come over many connections: each kubectl has its own.
// One session holds those of one token, from one address, to one cluster, until
// none has come for idleTime.

// idleTime ends a session that nobody uses.
const idleTime = 5 * time.Minute

// sessionKey says which requests are of one session.
type sessionKey struct {
	token    [sha256.Size]byte
	target   string
	host     string // the agent's address without its port
	asserted input.Asserted
}

// session is an open one; its own are the streams that were refused in it.
type session = engine.Pooled[sessionKey, fallbacks]
