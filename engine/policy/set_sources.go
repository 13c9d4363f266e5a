package policy

import (
	"bytes"
	"maps"
)

// Sources returns the text of the policies' modules, without their tests, by
// file.
func (s *Set) Sources() map[string][]byte {
	out := maps.Clone(s.sources)
	for id, text := range out {
		out[id] = bytes.Clone(text)
	}
	return out
}
