// Package message reads messages of the Model Context Protocol for policies:
// JSON-RPC 2.0 in the revisions from 2024-11-05 to 2026-07-28. A message keeps
// its bytes, so that what is not changed is sent on as it came; what two
// readers could take for two messages is refused.
//
// Everything here is pure: no network, no clock, no goroutine. It imports
// engine/input, and the strict JSON reader of proxies/http/request.
package message
