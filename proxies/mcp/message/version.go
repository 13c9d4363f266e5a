package message

import (
	"slices"
	"strings"
)

// The revisions of the protocol, by date.
const (
	Version2024     = "2024-11-05"
	Version2025a    = "2025-03-26" // the only one with batches
	Version2025b    = "2025-06-18"
	Version2025c    = "2025-11-25"
	VersionModern   = "2026-07-28" // no handshake: every request says what it needs
	VersionUnknown  = "unknown"
	metaVersion     = "io.modelcontextprotocol/protocolVersion"
	metaClient      = "io.modelcontextprotocol/clientInfo"
	metaCapability  = "io.modelcontextprotocol/clientCapabilities"
	base64Begin     = "=?base64?"
	base64End       = "?="
	headerVersion   = "Mcp-Protocol-Version"
	headerMethod    = "Mcp-Method"
	headerName      = "Mcp-Name"
	headerParam     = "Mcp-Param-"
	headerSession   = "Mcp-Session-Id"
	maxSessionBytes = 512
)

// Versions are the revisions that regate knows.
var Versions = []string{Version2024, Version2025a, Version2025b, Version2025c, VersionModern}

// Known reports whether regate knows a revision.
func Known(version string) bool { return slices.Contains(Versions, version) }

// Era is "modern" from 2026-07-28, "legacy" before it, else "unknown".
func Era(version string) string {
	switch {
	case !Known(version):
		return "unknown"
	case strings.Compare(version, VersionModern) >= 0:
		return "modern"
	}
	return "legacy"
}
