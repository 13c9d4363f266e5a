package mask

import "fmt"

// words finds many lower-case ASCII words in text of any case. It looks at
// three characters at a time: a filter of 4 KB, which stays in the first-level
// cache, tells whether any word starts with them.
type words struct {
	list    []string
	filter  [1 << 15 / 64]uint64
	heads   [1 << 15]uint16 // index into buckets; 0 is empty
	buckets [][]uint16      // words that start alike
}

// symbols maps a byte to 5 bits: letters of either case, and what else stands
// in names and tokens.
var symbols = func() (t [256]uint8) {
	for c := 'a'; c <= 'z'; c++ {
		t[c] = uint8(c - 'a' + 1)
		t[c-0x20] = t[c]
	}
	for c := '0'; c <= '9'; c++ {
		t[c] = 27
	}
	t['_'], t['-'], t['.'], t['~'] = 28, 29, 30, 31
	return t
}()

const headMask = 1<<15 - 1

// newWords makes a matcher of words of two or more characters.
func newWords(list []string) (*words, error) {
	w := &words{list: list, buckets: [][]uint16{nil}}
	for i, word := range list {
		switch len(word) {
		case 0, 1:
			return nil, fmt.Errorf("word %q is too short", word)
		case 2:
			for third := range uint16(32) {
				w.add(uint16(symbols[word[0]])<<10|uint16(symbols[word[1]])<<5|third, i)
			}
		default:
			w.add(uint16(symbols[word[0]])<<10|uint16(symbols[word[1]])<<5|uint16(symbols[word[2]]), i)
		}
	}
	return w, nil
}

func (w *words) add(head uint16, word int) {
	w.filter[head>>6] |= 1 << (head & 63)
	if w.heads[head] == 0 {
		w.heads[head] = uint16(len(w.buckets))
		w.buckets = append(w.buckets, nil)
	}
	b := w.heads[head]
	w.buckets[b] = append(w.buckets[b], uint16(word))
}

// next returns the first position from i on where a word may start, and the
// words that may; len(text) when there is none. A word in the last two bytes
// is not seen: nothing follows that it could announce.
func (w *words) next(text []byte, i int) (int, []uint16) {
	if i+2 >= len(text) {
		return len(text), nil
	}
	head := uint16(symbols[text[i]])<<5 | uint16(symbols[text[i+1]])
	for j, c := range text[i+2:] {
		head = (head<<5 | uint16(symbols[c])) & headMask
		if w.filter[head>>6]&(1<<(head&63)) != 0 {
			return i + j, w.buckets[w.heads[head]]
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
