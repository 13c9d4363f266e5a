package prove

import (
	"bytes"
	"crypto/sha256"
	"maps"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/policy/corpus"
)

// DefaultRecorded is how many different recorded inputs are tried unless told
// otherwise.
const DefaultRecorded = 10_000

// passing are keys that differ from request to request by their nature: two
// inputs that differ in nothing else that is read are taken for one.
var passing = []string{"request", "session", "time", "usage"}

// Recorded yields recorded inputs as cases, each once as far as the policies
// can tell them apart, and at most limit of them. What could not be read is
// given to problem; seen counts all that was read.
func Recorded(set *policy.Set, source corpus.Source, limit int, seen *int, problem func(error)) func(yield func(Case) bool) {
	read := map[string]bool{}
	for _, p := range set.Packages() {
		for _, path := range set.Reads(p.Name) {
			if len(path) == 0 {
				read["*"] = true
			} else {
				read[path[0]] = true
			}
		}
	}
	// These decide which packages are asked.
	for _, key := range []string{"protocol", "stage", "target"} {
		read[key] = true
	}
	keys := slices.DeleteFunc(slices.Sorted(maps.Keys(read)), func(k string) bool { return slices.Contains(passing, k) })
	return func(yield func(Case) bool) {
		known := map[[sha256.Size]byte]bool{}
		for r, err := range source {
			if err != nil {
				problem(err)
				continue
			}
			*seen++
			h := sha256.New()
			for i := range r.Entries {
				if e := &r.Entries[i]; read["*"] && !slices.Contains(passing, e.Key) || slices.Contains(keys, e.Key) {
					h.Write([]byte(e.Key + "\x00"))
					h.Write(e.Digest[:])
				}
			}
			var sum [sha256.Size]byte
			h.Sum(sum[:0])
			if known[sum] || len(known) >= limit {
				continue
			}
			known[sum] = true
			value, err := ast.ValueFromReader(bytes.NewReader(r.Input))
			if err != nil {
				problem(err)
				continue
			}
			if !yield(Case{From: r.At(), Input: ast.NewTerm(value)}) {
				return
			}
		}
	}
}
