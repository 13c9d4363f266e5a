// Package policies holds the Rego library, the ready packs, the schemas and the
// capabilities that policies are checked against, as files of the binary. It
// imports no room of regate.
package policies

import (
	"embed"
	"io/fs"
)

//go:embed all:lib all:approvals all:budgets all:http all:kubernetes all:mcp all:pii all:postgres schemas capabilities.json
var files embed.FS

// Files returns all of them, as in this folder.
func Files() fs.FS { return files }
