package mask

// minPhone is how many digits a telephone number has at least, where a word
// says that it is one.
const minPhone = 7

// findPhone reports a telephone number that starts with the chain: with + and
// a country code (E.164), in the forms of North America, France, Britain,
// Germany and Japan, or any number of the right length after a word that says
// what it is.
func findPhone(c *digits, before rune, beforeAt int, dst []Finding) []Finding {
	g := c.groups[:c.n]
	start := g[0].start
	paren := false
	if before == '(' {
		paren, start = true, beforeAt
		before, beforeAt = prev(c.text, beforeAt)
		if before == ' ' || before == '-' { // "+1 (212)" is found from its 1
			before = 0
		}
	}
	if before == '+' {
		if r, at := prev(c.text, beforeAt); isAlnum(r) && !escaped(c.text, at) {
			return dst
		}
		if n := c.international(); n > 0 && c.ends(n) {
			return append(dst, Finding{KindPhone, beforeAt, g[n-1].end})
		}
		return dst
	}
	if isAlnum(before) && !escaped(c.text, beforeAt) || before == '.' && fraction(c.text, g[0].start) {
		return dst
	}
	n := c.northAmerican(paren)
	if n == 0 && !paren && before != '-' {
		n = c.national()
	}
	if n == 0 {
		if n = c.anyPhone(); n == 0 || !c.ends(n) || !mentioned(c.text, start, phoneWords) {
			return dst
		}
	}
	if !c.ends(n) {
		return dst
	}
	return append(dst, Finding{KindPhone, start, g[n-1].end})
}

// ends tells whether nothing that belongs to a longer word or number follows
// the first n groups.
func (c *digits) ends(n int) bool {
	if r, _ := next(c.text, c.groups[n-1].end); isLetter(r) || isDigit(r) {
		return false
	}
	return n >= c.n || c.groups[n].sep != '-'
}

// international returns how many groups make an E.164 number: a country code
// and 8 to 15 digits in all; 11 for North America.
func (c *digits) international() int {
	if c.value[0] == 0 {
		return 0
	}
	best := 0
	for k := 0; k < c.n; k++ {
		g := c.groups[k]
		if k > 0 && !phoneSeparator(g.sep) || g.total > 15 {
			break
		}
		if c.value[0] == 1 {
			if g.total == 11 && c.value[1] >= 2 {
				return k + 1
			}
			continue
		}
		if g.total >= 8 && countryCode(c.value[:3]) {
			best = k + 1
		}
	}
	return best
}

func phoneSeparator(sep uint32) bool {
	for ; sep != 0; sep >>= 8 {
		switch sep & 0xff {
		case ' ', '-', '.', '/', '(', ')':
		default:
			return false
		}
	}
	return true
}

// countryCode tells whether the digits start with a country code that is
// assigned (ITU-T list of E.164 country codes).
func countryCode(d []byte) bool {
	n := int(d[0])*100 + int(d[1])*10 + int(d[2])
	switch n {
	case 210, 214, 215, 217, 219, 259, 384, 388, 422, 671, 684, 851, 854, 884, 885, 887, 889, 969, 978, 990, 991:
		return false
	case 808:
		return true
	}
	switch {
	case n < 100, 280 <= n && n <= 289, 292 <= n && n <= 296, 424 <= n && n <= 429, 693 <= n && n <= 699,
		801 <= n && n <= 809, 830 <= n && n <= 839, 857 <= n && n <= 859, 871 <= n && n <= 877, n == 879, 890 <= n && n <= 899:
		return false
	}
	return true
}

// northAmerican returns how many groups make NPA-NXX-XXXX, with or without
// the 1 before it.
func (c *digits) northAmerican(paren bool) int {
	k := 0
	if !paren && c.n >= 4 && c.groups[0].digits == 1 && c.value[0] == 1 {
		k = 1
	}
	if c.n < k+3 {
		return 0
	}
	g := c.groups[k : k+3]
	if g[0].digits != 3 || g[1].digits != 3 || g[2].digits != 4 {
		return 0
	}
	switch g[2].sep {
	case '-', '.', ' ':
	default:
		return 0
	}
	switch sep := g[1].sep; {
	case paren || sep == g[2].sep: // "(212) 555-0123", "(212)555-0123", "212-555-0123"
	case k == 1 && sep&0xff != '(': // "1 (212) 555-0123", "1-212 555 0123"
	case sep == ')' || sep == ')'<<8|' ' || sep == '/':
	default:
		return 0
	}
	npa := c.value[g[0].total-3]
	nxx := c.value[g[1].total-3]
	if npa < 2 || nxx < 2 {
		return 0
	}
	return k + 3
}

// nationalForms are groupings with a leading 0 that are common enough to be
// known without a word beside them.
var nationalForms = [...]struct {
	seps string
	size [5]int
}{
	{" .-", [5]int{2, 2, 2, 2, 2}}, // France
	{" ", [5]int{3, 4, 4}},         // Britain: London; Japan: mobile
	{"-", [5]int{3, 4, 4}},
	{"-", [5]int{2, 4, 4}}, // Japan: Tokyo
	{" ", [5]int{4, 3, 4}}, // Britain: large cities
	{" ", [5]int{5, 6}},    // Britain: mobile and towns
	{" ", [5]int{5, 3, 3}},
	{" /-", [5]int{3, 8}}, // Germany: Berlin
	{" /-", [5]int{4, 7}}, // Germany: mobile
	{" /", [5]int{4, 8}},
}

// national returns how many groups make one of the national forms.
func (c *digits) national() int {
	if c.value[0] != 0 || c.n < 2 || c.value[1] == 0 {
		return 0
	}
	sep := c.groups[1].sep
	for i := range nationalForms {
		f := &nationalForms[i]
		known := false
		for k := range len(f.seps) {
			known = known || sep == uint32(f.seps[k])
		}
		if !known {
			continue
		}
		n := 0
		for n < c.n && n < len(f.size) && f.size[n] == c.groups[n].digits && (n == 0 || c.groups[n].sep == sep) {
			n++
		}
		if (n == len(f.size) || f.size[n] == 0) && (n == c.n || c.groups[n].sep != sep) {
			return n
		}
	}
	return 0
}

// anyPhone returns how many groups make 7 to 15 digits, as far as they reach.
func (c *digits) anyPhone() int {
	best := 0
	for k := 0; k < c.n && c.groups[k].total <= 15; k++ {
		if k > 0 && !phoneSeparator(c.groups[k].sep) {
			break
		}
		if c.groups[k].total >= minPhone {
			best = k + 1
		}
	}
	return best
}

// phoneWords announce a telephone number.
var phoneWords = []string{"phone", " tel", "mobile", " mob.", " cell", " fax", "msisdn", "whatsapp"}
