// Package body masks bodies of HTTP answers while they stream, in memory that
// does not grow with them: JSON (one value or many), server-sent events and
// text. What no mask reaches is passed on byte for byte.
//
// A mask's field is a path, "/items/email", whose steps are names of members;
// lists on the way have no step, each of their elements is meant. A field
// without a slash, "email", is every member of that name, in whatever case.
//
// Everything here is pure: no network, no clock, no goroutine. It imports
// engine, for what a mask does to a value, and engine/mask.
package body
