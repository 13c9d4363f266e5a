package mask

import (
	"math"
	"math/bits"
)

// find reports the keys in text. A keyword leads to its rules; what a rule can
// tell by hand comes first, its regexp sees a short stretch of text last.
func (s *ruleSet) find(text []byte, dst []Finding) []Finding {
	var last window
	for at := s.hits(text, 0); at.next(); {
		for _, r := range s.byWord[at.word] {
			w, fit := r.window(text, at.pos, len(s.words.list[at.word]))
			if fit != fits || w == last { // api_key has two keywords and one window
				continue
			}
			last = w
			dst = s.verify(text, w, dst)
		}
	}
	return dst
}

// settled returns where text can be cut at or before cut: before the first
// keyword that could still be that of a key when more text comes.
func (s *ruleSet) settled(text []byte, cut int) int {
	for at := s.hits(text, max(0, len(text)-maxKey-lineReach)); at.next() && at.pos < cut; {
		for _, r := range s.byWord[at.word] {
			w, fit := r.window(text, at.pos, len(s.words.list[at.word]))
			switch {
			case fit == unfit:
			case fit == unsure, w.to+lineReach > len(text):
				from := at.pos
				if !r.anchored() {
					from = max(0, from-r.before)
				}
				cut = min(cut, from)
			}
		}
	}
	return cut
}

// hits walks over the keywords in text.
type hits struct {
	set     *ruleSet
	text    []byte
	pos     int
	word    uint16
	buckets uint64   // at pos, still to be looked at
	words   []uint16 // of a bucket, still to be looked at
}

func (s *ruleSet) hits(text []byte, from int) hits {
	return hits{set: s, text: text, pos: from - 1}
}

func (h *hits) next() bool {
	w := h.set.words
	for {
		for len(h.words) > 0 {
			h.word, h.words = h.words[0], h.words[1:]
			if w.at(h.text, h.pos, h.word) {
				return true
			}
		}
		if h.buckets == 0 {
			if h.pos, h.buckets = w.next(h.text, h.pos+1); h.buckets == 0 {
				return false
			}
		}
		h.words = w.buckets[bits.TrailingZeros64(h.buckets)]
		h.buckets &= h.buckets - 1
	}
}

// window is where a rule's regexp is run: text[from:to].
type window struct {
	rule     *rule
	from, to int
}

// fit tells whether a window can hold a match.
type fit byte

const (
	unfit  fit = iota // it cannot, whatever follows
	unsure            // it cannot as it is; the text ends too early to tell
	fits
)

// window returns the stretch of text around the keyword text[at:at+n] that can
// hold a match.
func (r *rule) window(text []byte, at, n int) (window, fit) {
	switch {
	case r.assigned:
		return r.assignment(text, at, n)
	case r.heads != nil:
		if r.bounded && at > 0 && isWord(text[at-1]) {
			return window{}, unfit
		}
		best := unfit
		for _, head := range r.heads {
			best = max(best, headFits(head, text[at:]))
		}
		return window{r, at, min(len(text), at+r.after)}, best
	}
	return window{r, max(0, at-r.before), min(len(text), at+r.after)}, fits
}

func headFits(head []byteSet, text []byte) fit {
	for k := range head {
		if k >= len(text) {
			return unsure
		}
		if !head[k].has(text[k]) {
			return unfit
		}
	}
	return fits
}

// anchored tells whether a match starts where the window does.
func (r *rule) anchored() bool { return r.assigned || r.heads != nil }

// maxName is how much of a name can follow its keyword: the rules allow 20
// characters, and some have more of the name before these.
const maxName = 40

// assignment looks for `name operator value` around a keyword in the name, as
// gitleaks' rules write it: the rest of the name, up to 3 spaces or quotes, the
// operator, up to 5 spaces or quotes, the value.
func (r *rule) assignment(text []byte, at, n int) (window, fit) {
	i := at + n
	for k := 0; k < maxName && i < len(text) && (isName(text[i]) || text[i] == ' ' || text[i] == '\t'); k++ {
		i++
	}
	for k := 0; k < 3 && i < len(text) && (isSpace(text[i]) || text[i] == '\'' || text[i] == '"' || text[i] == '\\'); k++ {
		i++
	}
	operator := i
	for k := 0; k < 9 && i < len(text) && (isOperator(text[i]) || isSpace(text[i]) || isQuote(text[i]) || text[i] == '\\'); k++ {
		i++
	}
	if operator < len(text) && (i == operator || !isOperator(text[operator])) {
		return window{}, unfit
	}
	value := i
	limit := min(len(text), value+maxKey)
	for i < limit && !endsValue(text[i]) {
		i++
	}
	// The operator may have taken characters of the value: "=" is one of both.
	slack := value - operator
	switch {
	case r.maxValue >= 0 && i-value > r.maxValue:
		return window{}, unfit
	case i == len(text) && i-value < maxKey && i-value+slack < r.minValue:
		return window{}, unsure
	case i-value+slack < r.minValue:
		return window{}, unfit
	}
	from := at
	for k := 0; k < 50 && from > 0 && isName(text[from-1]); k++ {
		from--
	}
	return window{r, from, min(len(text), i+2)}, fits
}

// endsValue is what a value is followed by, after widen.
func endsValue(c byte) bool {
	switch c {
	case ';', ',', ')', ']', '}', '<', '>', '&', '\\':
		return true
	}
	return isSpace(c) || isQuote(c)
}

func isWord(c byte) bool { return isAlnum(rune(c)) || c == '_' }

func isName(c byte) bool {
	return isAlnum(rune(c)) || c == '_' || c == '.' || c == '-'
}

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' && c != '\v' }

func isQuote(c byte) bool { return c == '\'' || c == '"' || c == '`' }

func isOperator(c byte) bool {
	switch c {
	case '=', '>', ':', '|', '?', ',':
		return true
	}
	return false
}

// verify runs the rule's regexp, entropy and allow-lists on the window.
func (s *ruleSet) verify(text []byte, w window, dst []Finding) []Finding {
	r := w.rule
	for from := w.from; from < w.to; {
		m := r.re.get().FindSubmatchIndex(text[from:w.to])
		if m == nil {
			return dst
		}
		match := [2]int{from + m[0], from + m[1]}
		secret := match
		if r.group > 0 && 2*r.group+1 < len(m) && m[2*r.group] >= 0 {
			secret = [2]int{from + m[2*r.group], from + m[2*r.group+1]}
		} else {
			for k := 2; k+1 < len(m); k += 2 {
				if m[k+1] > m[k] {
					secret = [2]int{from + m[k], from + m[k+1]}
					break
				}
			}
		}
		if s.secret(r, text, secret, match) {
			dst = append(dst, Finding{KindAPIKey, secret[0], secret[1]})
		}
		if r.anchored() {
			return dst
		}
		from = max(match[1], from+1)
	}
	return dst
}

func (s *ruleSet) secret(r *rule, text []byte, secret, match [2]int) bool {
	if r.entropy > 0 && entropy(text[secret[0]:secret[1]]) <= r.entropy {
		return false
	}
	if s.global.allows(text, secret, match) {
		return false
	}
	for i := range r.allow {
		if r.allow[i].allows(text, secret, match) {
			return false
		}
	}
	return true
}

// entropy is Shannon's, in bits a byte.
func entropy(b []byte) float64 {
	var count [256]int
	for _, c := range b {
		count[c]++
	}
	sum := 0.0
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(len(b))
			sum -= p * math.Log2(p)
		}
	}
	return sum
}
