// Package rewrite masks what the API server answers, in every JSON form that an
// answer has: an object, a list, a table, metadata alone, a status, the events of
// a watch. It reads and writes tokens, so a list of any length takes little
// memory.
//
// A mask's field is the resource's type and a path in the object, with slashes:
// "secrets:/data", "configmaps:/data/password", "deployments.apps:/spec/template",
// "widgets.example.com:/spec/token". Lists are passed through: the values of all
// environment variables are "pods:/spec/containers/env/value". A path masks
// everything below it. Without a type it is for every type:
// "/metadata/annotations/example.com~1owner" (slashes in a name are ~1, tildes ~0,
// as in RFC 6901).
//
// It imports engine and engine/mask, and does no I/O but on the reader and the
// writer that it is given.
package rewrite
