package mask

import (
	"math"
	"math/bits"
)

// find reports the keys in text. A keyword leads to its rules; what a rule can
// tell by hand comes first, its regexp sees a short stretch of text last.
func (s *ruleSet) find(text []byte, dst []Finding) []Finding {
	var last window
	for i := 0; ; i++ {
		var hit uint64
		if i, hit = s.words.next(text, i); hit == 0 {
			return dst
		}
		for ; hit != 0; hit &= hit - 1 {
			for _, word := range s.words.buckets[bits.TrailingZeros64(hit)] {
				if !s.words.at(text, i, word) {
					continue
				}
				for _, r := range s.byWord[word] {
					w, ok := r.window(text, i, len(s.words.list[word]))
					if !ok || w == last { // api_key has two keywords and one window
						continue
					}
					last = w
					dst = s.verify(text, w, dst)
				}
			}
		}
	}
}

// window is where a rule's regexp is run: text[from:to].
type window struct {
	rule     *rule
	from, to int
}

// window returns the stretch of text around the keyword text[at:at+n] that can
// hold a match, or false when none can.
func (r *rule) window(text []byte, at, n int) (window, bool) {
	if r.assigned {
		return r.assignment(text, at, n)
	}
	if r.head != nil {
		if at+len(r.head) > len(text) {
			return window{}, false
		}
		for k := range r.head {
			if !r.head[k].has(text[at+k]) {
				return window{}, false
			}
		}
		return window{r, max(0, at-1), min(len(text), at+r.after)}, true
	}
	return window{r, max(0, at-r.before), min(len(text), at+r.after)}, true
}

// maxName is how much of a name can follow its keyword: the rules allow 20
// characters, and some have more of the name before these.
const maxName = 40

// assignment looks for `name operator value` around a keyword in the name, as
// gitleaks' rules write it: the rest of the name, up to 3 spaces or quotes, the
// operator, up to 5 spaces or quotes, the value.
func (r *rule) assignment(text []byte, at, n int) (window, bool) {
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
	if i == operator || !isOperator(text[operator]) {
		return window{}, false
	}
	value := i
	limit := min(len(text), value+maxKey)
	for i < limit && !endsValue(text[i]) {
		i++
	}
	// The operator may have taken characters of the value: "=" is one of both.
	slack := value - operator
	if i-value+slack < r.minValue || r.maxValue >= 0 && i-value > r.maxValue {
		return window{}, false
	}
	from := at
	for k := 0; k < 50 && from > 0 && isName(text[from-1]); k++ {
		from--
	}
	return window{r, from, min(len(text), i+2)}, true
}

// endsValue is what a value is followed by, after widen.
func endsValue(c byte) bool {
	switch c {
	case ';', ',', ')', ']', '}', '<', '>', '&', '\\':
		return true
	}
	return isSpace(c) || isQuote(c)
}

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
