package handshake

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// setting is one name and value of a startup packet.
type setting struct{ name, value string }

// startup takes the body of a startup packet: the version and the settings.
func (c *Client) startup(body []byte) error {
	version := binary.BigEndian.Uint32(body)
	if version>>16 != 3 {
		return &Error{Code: codeUnsupported, Reason: ReasonVersion,
			Message: fmt.Sprintf("unsupported frontend protocol %d.%d: the gateway speaks 3.0 and 3.2", version>>16, version&0xffff),
			Hint:    "Use a driver made for PostgreSQL 7.4 or newer."}
	}
	c.Version = agreed(version)
	settings, err := splitSettings(body[4:])
	if err != nil {
		return err
	}
	unknown, err := c.take(settings)
	if err != nil {
		return err
	}
	if version != c.Version || len(unknown) > 0 {
		// libpq and the server both put the whole version here, not its minor
		// part alone as the documentation says.
		c.negotiate, err = (&pgproto3.NegotiateProtocolVersion{NewestMinorProtocol: c.Version, UnrecognizedOptions: unknown}).Encode(nil)
		if err != nil {
			return &Error{Reason: ReasonProtocol, Message: "the protocol could not be negotiated", Cause: err}
		}
	}
	return nil
}

// agreed is the newest version that both sides speak. There is no 3.1.
func agreed(asked uint32) uint32 {
	if asked >= version32 {
		return version32
	}
	return version30
}

// splitSettings splits name, value, name, value … and the empty name that
// ends the packet. It is strict: a packet that could be read in two ways is
// refused, since the server upstream would be told one of them.
func splitSettings(b []byte) ([]setting, error) {
	malformed := func(why string) error {
		return &Error{Code: codeProtocolViolation, Reason: ReasonProtocol, Message: "invalid startup packet: " + why}
	}
	var out []setting
	for {
		name, rest, ok := bytes.Cut(b, []byte{0})
		if !ok {
			return nil, malformed("no terminator")
		}
		if len(name) == 0 {
			if len(rest) > 0 {
				return nil, malformed("bytes after the terminator")
			}
			return out, nil
		}
		value, rest, ok := bytes.Cut(rest, []byte{0})
		if !ok {
			return nil, malformed("a name without a value")
		}
		out = append(out, setting{string(name), string(value)})
		b = rest
	}
}

// take sorts the settings into the client. It returns the protocol options
// that we do not know.
func (c *Client) take(settings []setting) (unknown []string, err error) {
	var replication bool
	var options, direct []setting
	seen := map[string]bool{}
	for _, s := range settings {
		if why := unprintable(s.name); why != "" {
			return nil, refused("a startup parameter has "+why+" in its name", "")
		}
		if why := unprintable(s.value); why != "" {
			return nil, refused(fmt.Sprintf("startup parameter %s has %s in its value", shown(s.name), why), "")
		}
		// The four names of the protocol itself are told apart by case, as the
		// server does; those of settings are not.
		key := strings.ToLower(s.name)
		if seen[key] {
			return nil, refused(fmt.Sprintf("startup parameter %s is given twice", shown(s.name)), "")
		}
		seen[key] = true
		switch {
		case s.name == "user":
			c.User = s.value
		case s.name == "database":
			c.Database = s.value
		case s.name == "replication":
			replication = true
		case s.name == "options":
			if options, err = splitOptions(s.value); err != nil {
				return nil, err
			}
		case strings.HasPrefix(s.name, "_pq_."):
			unknown = append(unknown, s.name)
			c.Dropped = append(c.Dropped, s.name)
		default:
			direct = append(direct, s)
		}
	}
	if replication {
		return nil, &Error{Code: codeUnsupported, Reason: ReasonReplication,
			Message: "replication connections are refused",
			Hint:    "Connect without the parameter replication."}
	}
	if c.User == "" {
		return nil, &Error{Code: codeInvalidAuth, Reason: ReasonUser, Message: "no PostgreSQL user name specified in startup packet"}
	}
	if c.Database == "" {
		c.Database = c.User
	}
	c.Params, c.Asserted = map[string]string{}, map[string]string{}
	c.oauth = c.front.OAuthBearer && c.front.OAuthFirst
	// A setting of its own wins over one in options, as in the server.
	for _, s := range append(options, direct...) {
		if err := c.set(s); err != nil {
			return nil, err
		}
	}
	c.Application = c.Params["application_name"]
	return unknown, nil
}
