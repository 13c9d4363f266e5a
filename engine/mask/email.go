package mask

import "unicode"

// Longest parts of an address (RFC 5321 4.5.3.1), in characters.
const (
	maxLocal  = 64
	maxDomain = 255
)

// findEmail reports the address whose @ is text[at:after].
func findEmail(text []byte, at, after int, dst []Finding) []Finding {
	start := localStart(text, at)
	if start == at {
		return dst
	}
	end := domainEnd(text, after)
	if end == after {
		return dst
	}
	return append(dst, Finding{KindEmail, start, end})
}

// localStart walks back over the part before the @ and returns its start, at
// when there is none. A dot neither starts nor ends it.
func localStart(text []byte, at int) int {
	start, i := at, at
	for range maxLocal {
		r, before := prev(text, i)
		if !localRune(r) || r == '.' && i == at {
			break
		}
		if r != '.' && isAlnum(r) && escaped(text, before) {
			break
		}
		i = before
		if r != '.' {
			start = i
		}
	}
	return start
}

// localRune tells whether r stands in the part before the @ as people write
// it. The rest of what RFC 5322 allows is left out: it is more often the text
// around an address.
func localRune(r rune) bool {
	switch r {
	case '.', '_', '-', '+', '%', '\'':
		return true
	}
	return wordRune(r)
}

func wordRune(r rune) bool {
	return isAlnum(r) || r >= 0x80 && (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r))
}

// domainEnd walks over labels and dots from i on and returns where a domain
// name ends, i when there is none. A name has two or more labels; the last one
// is letters or an A-label. Where all labels before it are numbers there is
// only one: 163.com is a domain, 1.2.3.tgz is a version.
func domainEnd(text []byte, i int) int {
	end, labels, named := i, 0, false
	for left := maxDomain; left > 0; {
		n, letters, digits, dashed, xn := 0, 0, 0, false, true
		for ; left > 0; left-- {
			r, after := next(text, i)
			if r != '-' && !wordRune(r) || r == '-' && n == 0 {
				break
			}
			if n < 4 {
				xn = xn && r|0x20 == rune("xn--"[n])
			}
			switch {
			case r == '-':
			case isDigit(r):
				digits++
			default:
				letters++
			}
			dashed = r == '-'
			n, i = n+1, after
		}
		if n == 0 {
			return end
		}
		labels++
		if labels > 1 && !dashed && letters > 1 && (digits == 0 || xn && n > 4) && (named || labels == 2) {
			end = i
		}
		named = named || letters > 0
		r, after := next(text, i)
		if r != '.' || dashed {
			return end
		}
		i = after
		left--
	}
	return end
}

// wholeEmail tells whether value is one address and nothing else.
func wholeEmail(value []byte) bool {
	for i := 0; i < len(value); i++ {
		if value[i] == '@' {
			return i > 0 && localStart(value, i) == 0 && i+1 < len(value) && domainEnd(value, i+1) == len(value)
		}
	}
	return false
}
