package mask

// Field appends the masked form of value to dst. The value comes from field,
// "schema.table.column", which separates the hashes of one column from those
// of another. null is true where the method is null: dst is then returned as
// it was and the caller sends a NULL. A value that is NULL already is not
// passed to Field.
func (k *Keyring) Field(dst []byte, value []byte, s Spec, field string) (out []byte, null bool) {
	switch s.Method {
	case Null:
		return dst, true
	case Hash:
		return k.hash.tag(dst, "h:", "field:", field, value), false
	case Tokenise:
		return k.token.tag(dst, "tok_", "", "", value), false
	case Partial:
		return partial(dst, value, s, ""), false
	}
	return append(dst, "[REDACTED]"...), false
}

// found appends the masked form of a value that was detected in text. Null
// drops it: text around it has no place for a NULL.
func (k *Keyring) found(dst []byte, value []byte, s Spec, kind string) []byte {
	switch s.Method {
	case Null:
		return dst
	case Hash:
		return k.hash.tag(dst, "h:", "detect:", kind, value)
	case Tokenise:
		return k.token.tag(dst, "tok_", "", "", value)
	case Partial:
		return partial(dst, value, s, kind)
	}
	dst = append(dst, "[REDACTED:"...)
	dst = append(dst, kind...)
	return append(dst, ']')
}
