package mask

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"strings"
)

// words finds many lower-case ASCII words in text of any case. The words are
// dealt out to 64 buckets; for each of the first four bytes of a word a table
// tells which buckets have a word with that byte there. Four loads and three
// ANDs a byte of text say where words may start (Hyperscan's Teddy, by hand).
type words struct {
	list    []string
	may     [256][4]uint64
	buckets [64][]uint16
}

// newWords makes a matcher of words of two or more characters.
func newWords(list []string) (*words, error) {
	w := &words{list: list}
	order := make([]int, len(list))
	for i := range order {
		order[i] = i
	}
	// Words that start alike share a bucket: that keeps its bytes few. A word
	// that leaves a byte open would open it for its whole bucket, so that short
	// words have their own as far as half of the buckets go.
	slices.SortFunc(order, func(a, b int) int {
		x, y := list[a], list[b]
		return cmp.Or(cmp.Compare(min(len(x), 4), min(len(y), 4)), strings.Compare(x, y))
	})
	short := 0
	for short < min(len(order), len(w.buckets)/2) && len(list[order[short]]) < 4 {
		short++
	}
	for n, i := range order {
		word := list[i]
		if len(word) < 2 {
			return nil, fmt.Errorf("word %q is too short", word)
		}
		bucket := n
		if n >= short {
			bucket = short + (n-short)*(len(w.buckets)-short)/(len(order)-short)
		}
		w.buckets[bucket] = append(w.buckets[bucket], uint16(i))
		for at := range 4 {
			for c := range 256 {
				if at >= len(word) || lower(byte(c)) == word[at] {
					w.may[c][at] |= 1 << bucket
				}
			}
		}
	}
	return w, nil
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// next returns the first position from i on where a word may start, and the
// buckets that it may be in; len(text) and 0 when there is none. A word in the
// last three bytes is not seen: too little follows that it could announce.
func (w *words) next(text []byte, i int) (int, uint64) {
	if i+3 >= len(text) {
		return len(text), 0
	}
	// After byte n: one has passed as the first byte of a word, two as the
	// first two, three as the first three.
	a, b, c := &w.may[text[i]], &w.may[text[i+1]], &w.may[text[i+2]]
	one, two, three := c[0], b[0]&c[1], a[0]&b[1]&c[2]
	for j, ch := range text[i+3:] {
		m := &w.may[ch]
		if hit := three & m[3]; hit != 0 {
			return i + j, hit
		}
		three = two & m[2]
		two = one & m[1]
		one = m[0]
	}
	return len(text), 0
}

// at tells whether the word stands at text[i:].
func (w *words) at(text []byte, i int, word uint16) bool {
	s := w.list[word]
	return i+len(s) <= len(text) && equalFold(text[i:i+len(s)], s)
}

// contains tells whether text holds any of the words.
func (w *words) contains(text []byte) bool {
	for i := 0; ; i++ {
		var hit uint64
		if i, hit = w.next(text, i); hit == 0 {
			return false
		}
		for ; hit != 0; hit &= hit - 1 {
			for _, word := range w.buckets[bits.TrailingZeros64(hit)] {
				if w.at(text, i, word) {
					return true
				}
			}
		}
	}
}
