package regate.policies.test.mcp

# The suite asks for everything that a server may be asked for.
allow contains {"id": "test/all"} if true
