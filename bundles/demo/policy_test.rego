package regate.policies.acme.shop_test

import data.regate.policies.acme.shop

request(action) := {
	"stage": "request", "complete": true,
	"subject": {"groups": ["analysts"]},
	"action": object.union({"verb": "select", "verbs": ["select"], "writes": false, "ddl": false, "opaque": false, "locks": false}, action),
}

ids(set_of) := {element.id | some element in set_of}

test_connect if {
	connect := object.union(request({"verb": "connect"}), {"stage": "session"})
	ids(shop.allow) == {"acme.shop/connect"} with input as connect
}

test_read if ids(shop.allow) == {"acme.shop/read"} with input as request({})

test_change_rows if {
	ids(shop.allow) == {"acme.shop/change-rows"} with input as request({"verb": "update", "verbs": ["update"], "writes": true})
}

test_strangers_get_nothing if {
	shop.allow == set() with input as object.union(request({}), {"subject": {"groups": ["guests"]}})
}

test_drop if {
	drop := request({"verb": "drop", "verbs": ["drop"], "writes": true, "ddl": true})
	shop.allow == set() with input as drop
	ids(shop.deny) == {"acme.shop/drop"} with input as drop
}
