package regate.policies.acme.files_test

import data.regate.policies.acme.files

ids(set_of) := {element.id | some element in set_of}

request(verb, tool, path) := {
	"stage": "request", "subject": {"groups": ["assistants"]},
	"action": {"verb": verb, "item": false}, "resource": {"tool": tool},
	"mcp": {"arguments": {"path": path}},
}

test_connect if ids(files.allow) == {"acme.files/connect"} with input as {"stage": "session", "subject": {"groups": ["assistants"]}, "action": {"verb": "connect"}}

test_others if files.allow == set() with input as object.union(request("call", "echo", ""), {"subject": {"groups": ["others"]}})

test_talk if ids(files.allow) == {"acme.files/talk"} with input as request("ping", null, "")

test_talk_is_not_denied if files.deny == set() with input as request("ping", null, "")

test_list if ids(files.allow) == {"acme.files/list"} with input as request("list", null, "")

test_read if {
	doc := request("call", "read_text_file", "/docs/a.txt")
	ids(files.allow) == {"acme.files/tools"} with input as doc
	files.deny == set() with input as doc
	files.require_approval == set() with input as doc
	ids(files.mask) == {"acme.files/addresses"} with input as doc
}

test_secrets if ids(files.deny) == {"acme.files/secrets"} with input as request("call", "read_text_file", "/docs/.env")

test_input if ids(files.deny) == {"acme.files/input"} with input as object.union(request("call", "echo", ""), {"mcp": null})

test_write if ids(files.require_approval) == {"acme.files/write"} with input as request("call", "write_file", "/docs/a.txt")

test_move if files.allow == set() with input as request("call", "move_file", "/docs/a.txt")
