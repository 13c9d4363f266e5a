package upstream

import (
	"fmt"
	"strings"
)

// settings builds what the session starts with. The later wins: the agent's
// parameters, the target's settings, the role, and what the gateway's reading
// of SQL depends on.
func (t Target) settings(role string, params map[string]string) (map[string]string, error) {
	out := map[string]string{}
	put := func(from map[string]string) error {
		for name, value := range from {
			if err := checkSetting(name, value); err != nil {
				return err
			}
			// The server applies a name in any case, and the last one wins; a
			// map has no last one.
			for other := range out {
				if strings.EqualFold(other, name) {
					delete(out, other)
				}
			}
			out[name] = value
		}
		return nil
	}
	if err := put(params); err != nil {
		return nil, fmt.Errorf("parameters: %w", err)
	}
	if err := put(t.Settings); err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	if strings.IndexByte(role, 0) >= 0 {
		return nil, fmt.Errorf("role holds a zero byte")
	}
	if role != "" {
		out["role"] = role
	}
	out["client_encoding"] = "UTF8"
	out["standard_conforming_strings"] = "on"
	return out, nil
}

// checkSetting refuses names that are not settings, or that the gateway alone
// sets. The list of what an agent may set is the handshake's; this one keeps a
// mistake there, or in the configuration, from becoming another role.
func checkSetting(name, value string) error {
	switch lower := strings.ToLower(name); {
	case name == "" || strings.IndexByte(name, 0) >= 0 || strings.IndexByte(value, 0) >= 0:
		return fmt.Errorf("setting %q is empty or holds a zero byte", name)
	case lower == "user" || lower == "database" || lower == "options" || lower == "replication" || strings.HasPrefix(lower, "_pq_."):
		return fmt.Errorf("%q is not a setting", name)
	case lower == "role" || lower == "session_authorization" || lower == "client_encoding" || lower == "standard_conforming_strings":
		return fmt.Errorf("setting %q is the gateway's", name)
	}
	return nil
}
