// Package analyze says what a piece of SQL does, without running it: a pure
// function of the text, a snapshot of the catalogue and the session's
// settings. For each statement it gives the relations touched and how, the
// columns read and written, the functions called, where each result column's
// values come from, what the statement does to the session, and the parts of
// the input document that policies read.
//
// The rule of this package: confidently wrong is a defect, "unknown" is an
// answer. A name that cannot be resolved, a node that is not understood and
// code that is not in the statement each leave an Unknown and never a guess.
//
// Text is checked in Go before it reaches libpg_query, whose C parser recurses
// and can end the process: see Options.
//
// It imports engine/input and proxies/postgres/catalog.
package analyze
