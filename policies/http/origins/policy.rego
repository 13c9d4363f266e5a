# METADATA
# title: Known servers only
# description: |
#   For agents that reach the world through regate: only hosts in `hosts`, by https,
#   on the ports in `ports`. An address instead of a name is denied, and so are names
#   of the local network and of the machine itself. regate decides on the name that it
#   will connect to and checks the certificate by it; which addresses a name may have
#   is for the gateway's configuration.
#   Settings: hosts (list: a name, or "*.example.com" for every name one or more
#   labels below it), by_group (object: group to list of further hosts), ports (list
#   of numbers), plain (hosts that may be reached by http), exempt (list of groups).
# scope: package
# schemas:
#   - input: schema.http
# custom:
#   regate: {protocols: [http], mode: enforce}
package regate.policies.regate.http_origins

import data.regate.lib.principal

hosts := site if {
	site := data.regate.settings.http_origins.hosts
} else := data.regate.defaults.http_origins.hosts

by_group := site if {
	site := data.regate.settings.http_origins.by_group
} else := data.regate.defaults.http_origins.by_group

ports := site if {
	site := data.regate.settings.http_origins.ports
} else := data.regate.defaults.http_origins.ports

plain := site if {
	site := data.regate.settings.http_origins.plain
} else := data.regate.defaults.http_origins.plain

exempt := site if {
	site := data.regate.settings.http_origins.exempt
} else := data.regate.defaults.http_origins.exempt

settings_known if {
	is_array(hosts)
	is_object(by_group)
	is_array(ports)
	is_array(plain)
	is_array(exempt)
	every host in array.concat(hosts, plain) {
		is_string(host)
	}
	every port in ports {
		is_number(port)
	}
	every _, more in by_group {
		is_array(more)
	}
}

host := trim_suffix(lower(input.resource.host), ".")

matches(pattern) if pattern == host

matches(pattern) if {
	startswith(pattern, "*.")
	endswith(host, substring(pattern, 1, -1))
	count(host) > count(pattern) - 1
}

may_reach if {
	some pattern in hosts
	matches(lower(pattern))
}

may_reach if {
	some group in input.subject.groups
	some pattern in by_group[group]
	matches(lower(pattern))
}

is_plain if {
	some pattern in plain
	matches(lower(pattern))
}

is_address if regex.match(`^\[|:|^[0-9.]+$|^0x`, host)

is_local if regex.match(`^localhost$|\.localhost$|\.local$|\.internal$|\.lan$|\.home\.arpa$|^[^.]+$`, host)

applies if {
	settings_known
	not is_exempt
}

is_exempt if principal.in_any(exempt)

deny contains {
	"id": "regate.http_origins/host", "severity": "medium",
	"msg": sprintf("%s is not among the servers that may be reached", [host]),
	"hint": "Ask for the server to be added.",
} if {
	applies
	not may_reach
}

deny contains {
	"id": "regate.http_origins/address", "severity": "high",
	"msg": sprintf("%s is an address, or a name of the local network", [host]),
	"hint": "Use the server's public name.",
} if {
	applies
	is_address
}

deny contains {
	"id": "regate.http_origins/address", "severity": "high",
	"msg": sprintf("%s is an address, or a name of the local network", [host]),
	"hint": "Use the server's public name.",
} if {
	applies
	is_local
	not host in hosts
}

deny contains {
	"id": "regate.http_origins/port", "severity": "medium",
	"msg": sprintf("port %d is not among those that may be reached", [input.resource.port]),
} if {
	applies
	not input.resource.port in ports
}

deny contains {
	"id": "regate.http_origins/plain", "severity": "medium",
	"msg": sprintf("%s may only be reached by https", [host]),
} if {
	applies
	not startswith(input.resource.origin, "https://")
	not is_plain
}

# What the rules above read has to be there: without it they would be silent.
input_known if {
	is_string(input.resource.host)
	is_string(input.resource.origin)
	is_number(input.resource.port)
}

deny contains {"id": "regate.http_origins/input", "severity": "high", "msg": "what regate.http_origins is asked about is not as it should be"} if {
	not input_known
}

deny contains {"id": "regate.http_origins/settings", "msg": "the settings of regate.http_origins are missing or of the wrong type"} if {
	not settings_known
}
