// Package request reads one Kubernetes API request exactly as the API server
// will: from method, request target, headers and body to the parts of the input
// document, and to the one form in which the request may be sent on. It is
// pure: no network, no clock.
//
// What two readers could understand in two ways is refused, not repaired: a
// path is never cleaned, a repeated option never chosen from. So what is sent
// on is what was decided.
//
// It imports engine/input and Kubernetes' own libraries.
package request
