package mask

// Digits and groups that one candidate can have. A card has at most 19
// digits, and each may stand alone.
const (
	maxDigits = 19
	maxGroups = 20
)

// group is a run of digits; what separates it from the one before is sep.
type group struct {
	sep        uint32 // up to 3 folded characters, 8 bits each; 0 for the first
	start, end int    // text[start:end]
	digits     int    // how many digits
	total      int    // digits from the first group to the end of this one
}

// digits is a chain of groups, read forward from where the first one starts.
type digits struct {
	text   []byte
	groups [maxGroups]group
	n      int // groups
	value  [maxDigits]byte
	// cut: more digits follow than the chain can hold; its last group may be
	// incomplete and is not among groups.
	cut bool
}

// number looks at the digits that start at text[i] and returns where the walk
// goes on: after this run of digits.
func (d *Detector) number(text []byte, i int, dst []Finding) (int, []Finding) {
	if d.iban && i > 1 && !isPlain(text[i-1]) {
		dst = ibanBefore(text, i, dst)
	}
	// Most numbers are too short for anything: they cost this loop.
	j := i
	for j < len(text) && text[j]-'0' < 10 {
		j++
	}
	if n := j - i; n < d.least && (j == len(text) || stops[text[j]] || d.few(text, n, j)) {
		return j, dst
	}
	before, beforeAt := prev(text, i)
	if isDigit(before) {
		// The middle of a run that an invisible or foreign digit broke.
		_, end := next(text, i)
		return end, dst
	}
	var chain digits
	end := chain.read(text, i)
	if chain.n == 0 {
		return end, dst
	}
	if d.card {
		dst = findCard(&chain, before, dst)
	}
	if d.ssn {
		dst = findSSN(&chain, before, beforeAt, dst)
	}
	if d.phone {
		dst = findPhone(&chain, before, beforeAt, dst)
	}
	return end, dst
}

// isPlain tells whether an ASCII character is not a letter.
func isPlain(c byte) bool { return c < 0x80 && !isLetter(rune(c)) }

// stops holds the bytes that end a chain of digits at once.
var stops = func() (t [256]bool) {
	for c := range 0x80 {
		t[c] = !isSeparator(rune(c)) && !isDigit(rune(c))
	}
	return t
}()

// few tells whether a chain that starts with n ASCII digits, up to text[j:],
// has fewer digits than anything that is looked for. A telephone number of
// less than 9 digits is not the start of a word: dates in JSON end here.
func (d *Detector) few(text []byte, n, j int) bool {
	gap := 0
	for k := j; k < len(text); k++ {
		c := text[k]
		switch {
		case c-'0' < 10:
			if n++; n >= 9 && n >= d.least {
				return false
			}
			gap = 0
		case c >= 0x80:
			return false
		case stops[c]:
			return n < d.least || n < 9 && gap == 0 && isLetter(rune(c))
		default:
			if gap++; gap > 3 {
				return n < d.least
			}
		}
	}
	return n < d.least
}

// read fills the chain from text[i] on and returns where the first run of
// digits ends.
func (c *digits) read(text []byte, i int) (end int) {
	c.text = text
	total := 0
	var sep uint32
	for c.n < maxGroups {
		g := group{sep: sep, start: i, end: i}
		over := false
		for {
			r, after := next(text, i)
			if !isDigit(r) {
				break
			}
			if total < maxDigits {
				c.value[total] = byte(r - '0')
			} else {
				over = true
			}
			total++
			g.digits++
			i, g.end = after, after
		}
		if c.n == 0 {
			end = g.end
		}
		if over {
			c.cut = true
			return end
		}
		g.total = total
		c.groups[c.n] = g
		c.n++
		// The separator: up to three characters, then a digit.
		sep = 0
		for k := 0; ; k++ {
			r, after := next(text, i)
			if isDigit(r) {
				break
			}
			if k == 3 || !isSeparator(r) {
				return end
			}
			sep = sep<<8 | uint32(r)
			i = after
		}
	}
	c.cut = true
	return end
}

func isSeparator(r rune) bool {
	switch r {
	case ' ', '-', '.', '/', '(', ')':
		return true
	}
	return false
}

// hexWord tells whether text[start:end] is the part of a longer word that
// could be a hexadecimal number: a digest or an identifier, not a number that
// people wrote.
func hexWord(text []byte, start, end int) bool {
	longer, hex := false, true
	i := start
	for range 64 {
		r, at := prev(text, i)
		if !isAlnum(r) || escaped(text, at) {
			break
		}
		longer, hex, i = true, hex && isHex(r), at
	}
	i = end
	for range 64 {
		r, after := next(text, i)
		if !isAlnum(r) {
			break
		}
		longer, hex, i = true, hex && isHex(r), after
	}
	return longer && hex
}
