package handshake

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// passed are the settings that go upstream with the client's value, by lower
// case name, with PostgreSQL's spelling. None of them changes how a statement
// is read, who runs it, or what its result looks like beyond the formats of
// dates and floats. search_path does change what a name means: the catalogue
// is asked for it after the login.
var passed = map[string]string{
	"application_name":                    "application_name",
	"datestyle":                           "DateStyle",
	"extra_float_digits":                  "extra_float_digits",
	"idle_in_transaction_session_timeout": "idle_in_transaction_session_timeout",
	"intervalstyle":                       "IntervalStyle",
	"lock_timeout":                        "lock_timeout",
	"search_path":                         "search_path",
	"statement_timeout":                   "statement_timeout",
	"timezone":                            "TimeZone",
}

// ours is the prefix of what is said to the gateway, not to the server.
const ours = "regate."

const allowedHint = "Allowed are application_name, client_encoding (UTF8), DateStyle, extra_float_digits, " +
	"idle_in_transaction_session_timeout, IntervalStyle, lock_timeout, search_path, statement_timeout, TimeZone, " +
	"regate.purpose, regate.ticket, regate.task, regate.step and regate.auth."

// set takes one setting, or refuses it by name.
func (c *Client) set(s setting) error {
	name := strings.ToLower(s.name)
	if canonical, ok := passed[name]; ok {
		c.Params[canonical] = s.value
		return nil
	}
	switch name {
	case "client_encoding":
		if !harmlessEncoding(s.value) {
			return refused(fmt.Sprintf("client_encoding %s is not supported: the gateway reads statements in UTF-8 only", shown(s.value)),
				"Set client_encoding, or PGCLIENTENCODING, to UTF8.")
		}
		c.drop(s.name)
		return nil
	case "standard_conforming_strings":
		if !isOn(s.value) {
			return refused("standard_conforming_strings is always on behind this gateway", "Leave the parameter out.")
		}
		c.drop(s.name)
		return nil
	case "role", "session_authorization":
		return refused(fmt.Sprintf("startup parameter %s is refused: the gateway chooses the role from the token", name), "Leave the parameter out.")
	case ours + "purpose", ours + "ticket", ours + "task", ours + "step":
		c.Asserted[strings.TrimPrefix(name, ours)] = s.value
		return nil
	case ours + "auth":
		return c.chooseAuth(s.value)
	}
	return refused(fmt.Sprintf("startup parameter %s is not allowed", shown(s.name)), allowedHint)
}

func (c *Client) chooseAuth(value string) error {
	switch {
	case value == "password":
		c.oauth = false
	case value == "oauthbearer" && c.front.OAuthBearer:
		c.oauth = true
	case value == "oauthbearer":
		return &Error{Code: codeInvalidAuth, Reason: ReasonUnsupportedAuth, Message: "this listener does not offer OAUTHBEARER", Hint: "Send the token as the password."}
	default:
		return refused("regate.auth is password or oauthbearer", "")
	}
	return nil
}

func (c *Client) drop(name string) { c.Dropped = append(c.Dropped, name) }

// harmlessEncoding says whether a client that asks for this encoding may be
// served in UTF-8, which the session always uses upstream. The name is
// compared as the server does, by its letters and digits. SQL_ASCII means
// "bytes as they are", what psql asks for in the C locale; auto is libpq's
// word for the locale's encoding.
func harmlessEncoding(name string) bool {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return -1
	}, name)
	switch clean {
	case "utf8", "unicode", "sqlascii", "auto", "":
		return true
	}
	return false
}

// isOn reads a Boolean setting's true as the server does: any unique prefix.
func isOn(value string) bool {
	switch strings.ToLower(value) {
	case "on", "1", "t", "tr", "tru", "true", "y", "ye", "yes":
		return true
	}
	return false
}

func refused(message, hint string) *Error {
	return &Error{Code: codeNotAllowed, Reason: ReasonParameter, Message: message, Hint: hint}
}

// unprintable says what in s nobody could read in a log or an approval: bytes
// that are not UTF-8, control characters, and those that change how the text
// around them is shown. Empty: nothing.
func unprintable(s string) string {
	if !utf8.ValidString(s) {
		return "invalid UTF-8"
	}
	for _, r := range s {
		if !unicode.IsGraphic(r) {
			return fmt.Sprintf("the unprintable character %U", r)
		}
	}
	return ""
}

// printable replaces what unprintable finds.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsGraphic(r) {
			return '?'
		}
		return r
	}, s)
}

// shown quotes a client's text for a message, short enough for a log.
func shown(s string) string {
	const most = 64
	if len(s) > most {
		cut := most
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return `"` + strings.ReplaceAll(s, `"`, "'") + `"`
}
