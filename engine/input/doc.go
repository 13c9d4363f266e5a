// Package input holds the input document (`regate.input/v1`): what a policy
// sees of one request. It is the product's public contract with policy
// authors, so every key is always present; what is not known is null or
// "unknown", never missing.
//
// A Document is put together from Parts: immutable values (a principal, a
// target, an analysed statement) that carry their own digest and are shared by
// many requests. That keeps a decision cheap: a part is marshalled, digested
// and compiled for the evaluator once, however many requests refer to it.
//
// This package is a leaf: it imports no other room of regate.
package input
