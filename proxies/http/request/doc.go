// Package request reads HTTP requests for policies: it takes what an agent
// sent and says, in the words of the input document, what the upstream will
// see. What two readers could take for two different requests is refused with
// a Refusal, never guessed.
//
// A request is read in two steps. Decoder.Head reads everything but the body;
// Request.Read takes the body, where one was read, by its type. CheckHead looks
// at the bytes of an HTTP/1 head for what net/http forgives.
//
// Everything here is pure: no network, no clock, no goroutine. It imports
// engine/input and engine/mask.
package request
