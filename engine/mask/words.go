package mask

import "fmt"

// words finds many lower-case ASCII words in text of any case. It looks at
// three bytes at a time: a filter of 4 KB, which stays in the first-level
// cache, tells whether any word may start with them.
type words struct {
	list    []string
	filter  [1 << headBits / 64]uint64
	heads   [1 << headBits]uint16 // index into buckets; 0 is empty
	buckets [][]uint16            // words whose heads have one hash
}

const headBits = 15

// headHash spreads three bytes over headBits bits (Fibonacci hashing).
func headHash(head uint32) uint32 { return head << 8 * 0x9E3779B1 >> (32 - headBits) }

// lower maps the letters to lower case.
var lower = func() (t [256]uint8) {
	for c := range t {
		t[c] = uint8(c)
	}
	for c := 'A'; c <= 'Z'; c++ {
		t[c] |= 0x20
	}
	return t
}()

// newWords makes a matcher of words of two or more characters.
func newWords(list []string) (*words, error) {
	w := &words{list: list, buckets: [][]uint16{nil}}
	for i, word := range list {
		switch len(word) {
		case 0, 1:
			return nil, fmt.Errorf("word %q is too short", word)
		case 2:
			for third := range uint32(256) {
				w.add(uint32(word[0])<<16|uint32(word[1])<<8|third, i)
			}
		default:
			w.add(uint32(word[0])<<16|uint32(word[1])<<8|uint32(word[2]), i)
		}
	}
	return w, nil
}

func (w *words) add(head uint32, word int) {
	h := headHash(head)
	w.filter[h>>6] |= 1 << (h & 63)
	if w.heads[h] == 0 {
		w.heads[h] = uint16(len(w.buckets))
		w.buckets = append(w.buckets, nil)
	}
	b := w.heads[h]
	w.buckets[b] = append(w.buckets[b], uint16(word))
}

// next returns the first position from i on where a word may start, and the
// words that may; len(text) when there is none. A word in the last two bytes
// is not seen: nothing follows that it could announce.
func (w *words) next(text []byte, i int) (int, []uint16) {
	if i+2 >= len(text) {
		return len(text), nil
	}
	head := uint32(lower[text[i]])<<8 | uint32(lower[text[i+1]])
	for j, c := range text[i+2:] {
		head = head<<8 | uint32(lower[c])
		h := headHash(head)
		if w.filter[h>>6]&(1<<(h&63)) != 0 {
			return i + j, w.buckets[w.heads[h]]
		}
	}
	return len(text), nil
}

// at tells whether the word stands at text[i:].
func (w *words) at(text []byte, i int, word uint16) bool {
	s := w.list[word]
	return i+len(s) <= len(text) && equalFold(text[i:i+len(s)], s)
}

// contains tells whether text holds any of the words.
func (w *words) contains(text []byte) bool {
	for i := 0; ; i++ {
		var list []uint16
		if i, list = w.next(text, i); list == nil {
			return false
		}
		for _, word := range list {
			if w.at(text, i, word) {
				return true
			}
		}
	}
}
