package mcp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gowebpki/jcs"

	"github.com/regate-dev/regate/proxies/mcp/message"
)

// sealer makes what agents carry for the gateway: session ids and the states of
// requests. Whoever opens it has to be who it was made for, at the same server;
// nothing is kept here, so it outlives a restart and is good at every gateway
// of a cluster.
type sealer struct{ aead cipher.AEAD }

func newSealer(key []byte) (*sealer, error) {
	if len(key) < 32 {
		return nil, errors.New("mcp: the key is shorter than 32 bytes")
	}
	derived, err := hkdf.Key(sha256.New, key, nil, "regate mcp v1 seal", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return &sealer{aead}, err
}

var errSeal = errors.New("it was not made for this identity and server")

// bound is what a seal is for: its purpose, a server and whose it is.
func bound(purpose, target string, o owner) []byte {
	raw, err := json.Marshal([]string{purpose, target, o.Subject, o.Issuer, o.Actor})
	if err != nil {
		panic(err) // strings: they marshal
	}
	return raw
}

func (s *sealer) seal(v any, purpose, target string, o owner) (string, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, raw, bound(purpose, target, o))), nil
}

func (s *sealer) open(text string, v any, purpose, target string, o owner) error {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return errSeal
	}
	plain, err := s.aead.Open(nil, nil, raw, bound(purpose, target, o))
	if err != nil || json.Unmarshal(plain, v) != nil {
		return errSeal
	}
	return nil
}

// sealedSession is what the id of a session holds that an agent is told.
type sealedSession struct {
	ID      string `json:"i"` // the server's own
	Version string `json:"v"` // the revision that was agreed on
}

// sealedState is what a requestState holds that an agent is told.
type sealedState struct {
	Digest  string `json:"d"` // of the request: see requestDigest
	Expires int64  `json:"e"` // Unix seconds
	// Approval is the id of the approval that the request waits for, "" where
	// the state is the server's.
	Approval string `json:"a,omitempty"`
	// State and Responses are the server's state and the agent's answers to it,
	// as they were when the gateway asked for an approval.
	State     *string         `json:"s,omitempty"`
	Responses json.RawMessage `json:"r,omitempty"`
}

// stateTime is how long a requestState is good. A person has to answer within.
const stateTime = time.Hour

// requestDigest is of all of a request that may not change from one round to
// the next.
func requestDigest(m *message.Message) (string, error) {
	parts, err := message.Members(m.Raw)
	if err != nil {
		return "", err
	}
	params, err := message.Members(parts["params"])
	if err != nil {
		return "", err
	}
	for _, name := range []string{"_meta", "requestState", "inputResponses"} {
		delete(params, name)
	}
	rest, err := joined(params)
	if err != nil {
		return "", err
	}
	canonical, err := jcs.Transform(rest)
	if err != nil {
		return "", fmt.Errorf("digest of a request: %w", err)
	}
	sum := sha256.Sum256(append([]byte(m.Method+"\n"), canonical...))
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}
