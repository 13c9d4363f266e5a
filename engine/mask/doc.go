// Package mask finds sensitive values in text and replaces them.
//
// A Keyring holds the one secret of masking and writes the styles: null,
// redact, hash, tokenise and partial. A Detector finds values of a kind
// (credit_card, email, phone, iban, ssn, api_key, private_key, jwt) in text of
// any shape. Keyring.Field masks a value whose source is known, Keyring.Text
// masks what a Detector finds, and Stream does the same for text that arrives
// in chunks.
//
// Everything here is pure: no clock, no goroutine, no I/O. A Keyring and a
// Detector are immutable and safe for concurrent use, and allocate nothing per
// call once warm.
//
// Masking fails closed: a Spec with an unknown method redacts, a partial mask
// never shows more than half of a value, and overlapping findings are masked
// as one.
//
// # Limits of detection
//
// Detection is a net under the masks on known fields, not a wall: whoever can
// choose how a value is encoded can get it past any detector. Seen through
// are: fullwidth and other Unicode digits and letters, zero-width characters,
// digits grouped by spaces, dashes or dots, and JSON's \n in PEM blocks. Not
// seen are: base64, hex, gzip or URL encoding, reversed or spelled-out values,
// JSON \u escapes (a proxy that knows its body is JSON unescapes first), a
// card number typed as the fraction of a decimal or within a longer
// hexadecimal word, "user (at) example dot com", and phone numbers in national
// forms other than those of phone.go.
//
// This package is a leaf: it imports no other room of regate.
package mask
