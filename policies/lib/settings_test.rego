package regate.lib.settings_test

import data.regate.lib.settings

defaults := {"p": {"list": ["a"], "number": 5, "table": {"k": {}}}}

test_site_wins if {
	settings.value("p", "number") == 5 with data.regate.defaults as defaults
	settings.value("p", "number") == 6 with data.regate.defaults as defaults with data.regate.settings as {"p": {"number": 6}}
}

test_types if {
	settings.strings("p", "list") == ["a"] with data.regate.defaults as defaults
	settings.count_of("p", "number") == 5 with data.regate.defaults as defaults
	settings.table("p", "table") == {"k": {}} with data.regate.defaults as defaults
}

test_wrong_types_are_undefined if {
	wrong := {"p": {"list": [1], "number": -1, "table": {"k": 1}}}
	not settings.strings("p", "list") with data.regate.defaults as wrong
	not settings.strings("p", "number") with data.regate.defaults as wrong
	not settings.count_of("p", "number") with data.regate.defaults as wrong
	not settings.table("p", "table") with data.regate.defaults as wrong
	not settings.strings("p", "missing") with data.regate.defaults as wrong
}
