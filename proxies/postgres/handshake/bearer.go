package handshake

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// mechanism is the SASL mechanism of RFC 7628.
const mechanism = "OAUTHBEARER"

// bearer asks for the token by OAUTHBEARER.
func (c *Client) bearer() (string, error) {
	if err := c.ask(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{mechanism}}); err != nil {
		return "", err
	}
	body, err := c.answer()
	if err != nil {
		return "", err
	}
	message, present, err := splitInitial(body)
	if err != nil {
		return "", err
	}
	if !present {
		// SASL lets a client wait for an empty challenge first.
		if err := c.ask(&pgproto3.AuthenticationSASLContinue{}); err != nil {
			return "", err
		}
		if message, err = c.answer(); err != nil {
			return "", err
		}
	}
	c.pending = true
	return parseBearer(message)
}

// splitInitial splits a SASLInitialResponse: the mechanism and, when present,
// the client's first message.
func splitInitial(body []byte) (message []byte, present bool, err error) {
	malformed := &Error{Code: codeProtocolViolation, Reason: ReasonProtocol, Message: "invalid SASL initial response"}
	name, rest, ok := bytes.Cut(body, []byte{0})
	if !ok || len(rest) < 4 {
		return nil, false, malformed
	}
	if string(name) != mechanism {
		return nil, false, &Error{Code: codeInvalidAuth, Reason: ReasonUnsupportedAuth,
			Message: fmt.Sprintf("the client chose the SASL mechanism %s, offered was %s", shown(printable(string(name))), mechanism)}
	}
	size, message := int32(binary.BigEndian.Uint32(rest)), rest[4:]
	switch {
	case size == -1 && len(message) == 0:
		return nil, false, nil
	case int(size) == len(message):
		return message, true, nil
	}
	return nil, false, malformed
}

// parseBearer takes the token out of a client's first message:
//
//	n,,\x01auth=Bearer <token>\x01[key=value\x01…]\x01
//
// An empty auth asks for the discovery document: it is an *Error of
// ReasonNoToken, which Refuse answers with it.
func parseBearer(message []byte) (string, error) {
	malformed := func(why string) error {
		return &Error{Code: codeProtocolViolation, Reason: ReasonProtocol, Message: "malformed OAUTHBEARER message: " + why}
	}
	header, rest, ok := strings.Cut(string(message), "\x01")
	if !ok {
		return "", malformed("no separator")
	}
	switch {
	case strings.HasPrefix(header, "p="):
		return "", malformed("channel binding is not possible with this mechanism")
	case header != "n,," && header != "y,,":
		// An authorization identity would be a second, unverified user name.
		return "", malformed("an authorization identity, or no GS2 header")
	}
	body, ok := strings.CutSuffix(rest, "\x01")
	if !ok {
		return "", malformed("no end")
	}
	var auth string
	var found bool
	for body != "" {
		pair, after, ok := strings.Cut(body, "\x01")
		if !ok {
			return "", malformed("a pair without an end")
		}
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" || strings.TrimFunc(key, isLetter) != "" {
			return "", malformed("a key that is not made of letters")
		}
		if key == "auth" {
			if found {
				return "", malformed("auth is given twice")
			}
			auth, found = value, true
		}
		body = after
	}
	if !found {
		return "", malformed("no auth")
	}
	if auth == "" {
		return "", &Error{Code: codeInvalidAuth, Reason: ReasonNoToken, Message: "no token was given", Hint: "Get a token from the issuer and connect again."}
	}
	scheme, token, ok := strings.Cut(auth, " ")
	token = strings.TrimLeft(token, " ")
	if !ok || !strings.EqualFold(scheme, "bearer") || !isToken(token) {
		return "", &Error{Code: codeInvalidPassword, Reason: ReasonBadToken, Message: "the value of auth is not a bearer token"}
	}
	return token, nil
}

func isLetter(r rune) bool { return (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z') }

// isToken says whether s is a b64token of RFC 6750.
func isToken(s string) bool {
	s = strings.TrimRight(s, "=")
	for _, r := range s {
		if !isLetter(r) && (r < '0' || r > '9') && !strings.ContainsRune("-._~+/", r) {
			return false
		}
	}
	return s != ""
}

// failBearer tells the client that its token is no good, the way RFC 7628
// says: the status and where to get a better one; the client answers with one
// byte 0x01, whose content does not matter, and the error follows.
func (c *Client) failBearer() {
	data, err := json.Marshal(struct {
		Status    string `json:"status"`
		Discovery string `json:"openid-configuration,omitempty"`
		Scope     string `json:"scope,omitempty"`
	}{"invalid_token", c.front.Discovery, c.front.Scope})
	if err != nil {
		return
	}
	if c.ask(&pgproto3.AuthenticationSASLContinue{Data: data}) != nil {
		return
	}
	_, _ = c.answer()
}
