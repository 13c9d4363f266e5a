package mask

// findSSN reports a United States social security number that starts with the
// chain: AAA-GG-SSSS, or with spaces, dots or no separator after a word that
// says what it is.
func findSSN(c *digits, before rune, beforeAt int, dst []Finding) []Finding {
	g := c.groups[:c.n]
	start := g[0].start
	if isAlnum(before) && !escaped(c.text, beforeAt) {
		return dst
	}
	var end int
	switch {
	case len(g) >= 3 && g[0].digits == 3 && g[1].digits == 2 && g[2].digits == 4 && g[1].sep == g[2].sep:
		end = g[2].end
		switch g[1].sep {
		case '-':
			if before == '-' || len(g) > 3 && g[3].sep == '-' {
				return dst // the middle of a longer number
			}
		case ' ', '.':
			if !mentioned(c.text, start, ssnWords) {
				return dst
			}
		default:
			return dst
		}
	case g[0].digits == 9 && mentioned(c.text, start, ssnWords):
		end = g[0].end
	default:
		return dst
	}
	if r, _ := next(c.text, end); isAlnum(r) {
		return dst
	}
	v := c.value[:9]
	area := int(v[0])*100 + int(v[1])*10 + int(v[2])
	if area == 0 || area == 666 || area >= 900 || v[3] == 0 && v[4] == 0 || v[5] == 0 && v[6] == 0 && v[7] == 0 && v[8] == 0 {
		return dst
	}
	return append(dst, Finding{KindSSN, start, end})
}

// ssnWords announce a social security number.
var ssnWords = []string{" ssn", "social sec", "social_sec", "socialsec", "social-sec"}
