package postgres

import (
	"slices"
	"strings"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/proxies/postgres/analyze"
)

// guarded are the parameters that no policy may let an agent change, with what
// is wrong with it. Changing one would make the target read a statement
// otherwise than regate did, or act as somebody else.
var guarded = map[string]string{
	"role":                        "the role is set by the gateway",
	"session_authorization":       "the role is set by the gateway",
	"client_encoding":             "regate reads statements as UTF-8",
	"standard_conforming_strings": "regate reads strings by the SQL standard",
	"backslash_quote":             "regate reads strings by the SQL standard",
	"session_replication_role":    "it switches off triggers and rules",
	"debug_print_parse":           "it sends the values of statements to the client",
	"debug_print_rewritten":       "it sends the values of statements to the client",
	"debug_print_plan":            "it sends the values of statements to the client",
}

// guard refuses what would take the ground from under every decision.
func (s *session) guard(st *analyze.Statement) *engine.Denial {
	return guard(st, s.role, s.target.Role.Allowed)
}

// guard is session.guard for an agent that acts as role and may choose among
// those allowed.
func guard(st *analyze.Statement, role string, allowed []string) *engine.Denial {
	for _, set := range st.Effects.Settings {
		name := strings.ToLower(set.Name)
		if name == "client_encoding" && set.Value != nil && isUTF8(*set.Value) {
			continue
		}
		if name == "standard_conforming_strings" && set.Value != nil && isOn(*set.Value) {
			continue
		}
		if why, no := guarded[name]; no {
			if name == "role" && set.Value != nil && slices.Contains(allowed, *set.Value) {
				continue
			}
			return &engine.Denial{Reasons: []string{ReasonSetting}, Message: "parameter " + name + " may not be changed through regate: " + why, Hint: "Leave it as it is."}
		}
	}
	if st.Effects.Discard == "all" && role != "" {
		return &engine.Denial{Reasons: []string{ReasonSetting}, Message: "DISCARD ALL may not be used through regate: it would give up the role that the gateway has set", Hint: "Use DISCARD PLANS, DISCARD TEMP, DISCARD SEQUENCES, RESET and DEALLOCATE ALL."}
	}
	for name, table := range st.Facts.Resource.Tables {
		if strings.HasPrefix(name, "pg_catalog.") && slices.ContainsFunc(table.Access, writes) {
			return &engine.Denial{Reasons: []string{ReasonCatalogWrite}, Message: "the system catalogue may not be written through regate", Hint: "Use SET or DDL."}
		}
	}
	return nil
}

func writes(access string) bool { return access != "read" && access != "lock" }

func isUTF8(v string) bool {
	switch strings.ToUpper(strings.Trim(v, "'\"")) {
	case "UTF8", "UTF-8", "UNICODE":
		return true
	}
	return false
}

func isOn(v string) bool {
	switch strings.ToLower(strings.Trim(v, "'\"")) {
	case "on", "true", "yes", "1":
		return true
	}
	return false
}
