package mask

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
)

// The kinds of value that a Detector finds.
const (
	KindCard       = "credit_card" // payment card number: 13–19 digits, issuer range, Luhn
	KindEmail      = "email"       // e-mail address
	KindPhone      = "phone"       // E.164 and common national forms
	KindIBAN       = "iban"        // country's length, mod 97
	KindSSN        = "ssn"         // United States social security number
	KindAPIKey     = "api_key"     // by the rules of gitleaks
	KindPrivateKey = "private_key" // PEM and SSH2 blocks
	KindJWT        = "jwt"         // signed or encrypted token in compact form
)

// kinds lists the kinds, the one that names an overlap first.
var kinds = [...]string{KindPrivateKey, KindJWT, KindAPIKey, KindCard, KindIBAN, KindSSN, KindEmail, KindPhone}

// Kinds returns every kind that NewDetector takes, sorted.
func Kinds() []string {
	list := slices.Clone(kinds[:])
	slices.Sort(list)
	return list
}

// Finding is one value found: text[Start:End].
type Finding struct {
	Kind       string
	Start, End int
}

// Detector finds values of some kinds. It is immutable and safe for
// concurrent use.
type Detector struct {
	card, email, phone, iban, ssn, privateKey, jwt bool

	keys  *ruleSet // nil unless api keys are looked for
	class [256]byte
	any   bool // class has entries
	least int  // digits of the shortest number that is looked for
	reach int  // see Stream

	lists sync.Pool
}

// findings is a reusable list.
type findings struct{ all []Finding }

// NewDetector makes a detector of the kinds, each one of Kinds. Detectors
// share their rules: making one costs microseconds.
func NewDetector(kinds []string) (*Detector, error) {
	d := &Detector{}
	d.lists.New = func() any { return &findings{} }
	for _, kind := range kinds {
		switch kind {
		case KindCard:
			d.card = true
		case KindEmail:
			d.email = true
		case KindPhone:
			d.phone = true
		case KindIBAN:
			d.iban = true
		case KindSSN:
			d.ssn = true
		case KindPrivateKey:
			d.privateKey = true
		case KindJWT:
			d.jwt = true
		case KindAPIKey:
			keys, err := keyRules()
			if err != nil {
				return nil, fmt.Errorf("mask: api key rules: %w", err)
			}
			d.keys = keys
		default:
			return nil, fmt.Errorf("mask: unknown kind %q", kind)
		}
	}
	d.classify()
	return d, nil
}

func (d *Detector) borrow() *findings       { return d.lists.Get().(*findings) }
func (d *Detector) giveBack(list *findings) { d.lists.Put(list) }

// Scan appends what it finds in text to dst, sorted and not overlapping:
// findings that overlap are one, under the kind that is the graver secret. It
// allocates nothing when nothing is found.
func (d *Detector) Scan(text []byte, dst []Finding) []Finding {
	base := len(dst)
	dst = d.find(text, dst)
	found, w := dst[base:], 0
	for r := 0; r < len(found); {
		n, f := cluster(found[r:])
		r += n
		found[w] = f
		w++
	}
	return dst[:base+w]
}

// find appends every finding, sorted by start; findings may overlap. Whether
// a finding is one depends on the bytes around it alone, never on what was
// found before: Stream relies on that.
func (d *Detector) find(text []byte, dst []Finding) []Finding {
	base := len(dst)
	if d.any {
		dst = d.walk(text, dst)
	}
	if d.jwt {
		dst = findJWT(text, dst)
	}
	if d.privateKey {
		dst = findPrivateKey(text, dst)
	}
	if d.keys != nil {
		dst = d.keys.find(text, dst)
	}
	if found := dst[base:]; len(found) > 1 {
		slices.SortFunc(found, func(a, b Finding) int {
			return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(b.End, a.End), cmp.Compare(a.Kind, b.Kind))
		})
	}
	return dst
}

// cluster returns how many findings at the head of the sorted list overlap,
// and the one finding that covers them.
func cluster(found []Finding) (int, Finding) {
	f, n := found[0], 1
	for n < len(found) && found[n].Start < f.End {
		f.End = max(f.End, found[n].End)
		if rank(found[n].Kind) < rank(f.Kind) {
			f.Kind = found[n].Kind
		}
		n++
	}
	return n, f
}

func rank(kind string) int { return slices.Index(kinds[:], kind) }
