package mask

// The masking methods, strongest first.
const (
	Null     = "null"     // the value is dropped
	Redact   = "redact"   // [REDACTED], or [REDACTED:kind] for a detected kind
	Hash     = "hash"     // h: and a keyed hash, distinct for each field
	Tokenise = "tokenise" // tok_ and a keyed hash, equal for equal values of every field
	Partial  = "partial"  // *** and a part of the value
)

// Spec says how a value is masked. The zero Spec redacts, as does one whose
// Method is not known.
type Spec struct {
	Method string // null, redact, hash, tokenise or partial
	// Keep and KeepFirst are the runes that a partial mask shows at the end and
	// at the start of a value. Where both are 0 and KeepDomain is false, what is
	// shown follows from the value: an e-mail address shows its first rune and
	// its domain; a detected card, IBAN or SSN its last 4 runes, a detected phone
	// number its last 2; anything else shows nothing.
	Keep      int
	KeepFirst int
	// KeepDomain: a partial mask of an e-mail address shows its domain, and Keep
	// and KeepFirst apply to the part before the @.
	KeepDomain bool
}

func (s Spec) strength() int {
	switch s.Method {
	case Null:
		return 5
	case Hash:
		return 3
	case Tokenise:
		return 2
	case Partial:
		return 1
	}
	return 4 // redact, and whatever is not known
}

// Join returns the stronger of two masks on one value:
// null > redact > hash > tokenise > partial; two different partials redact.
func Join(a, b Spec) Spec {
	x, y := a.strength(), b.strength()
	switch {
	case x > y:
		return a
	case y > x:
		return b
	case a == b || x > 1:
		return a
	}
	return Spec{Method: Redact}
}
