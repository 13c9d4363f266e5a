package mask

// findCard reports the longest card number that starts with the chain.
func findCard(c *digits, before rune, dst []Finding) []Finding {
	switch c.value[0] {
	case 0, 1, 7:
		return dst // no issuer's
	}
	for e := c.n - 1; e >= 0; e-- {
		g := c.groups[e]
		if g.total < 13 {
			break
		}
		if !c.cardLayout(e) || !issued(c.value[:g.total]) || !luhn(c.value[:g.total]) {
			continue
		}
		if g.total == 13 && ean13(c.value[:13]) {
			continue // an article number: those of Germany start with 4 as Visa's do
		}
		start := c.groups[0].start
		if e == 0 && before == '.' && fraction(c.text, start) || hexWord(c.text, start, g.end) {
			continue
		}
		return append(dst, Finding{KindCard, start, g.end})
	}
	return dst
}

// cardLayout tells whether groups 0 to e look like one number: no separators,
// one separator throughout with groups of one size (the last may be shorter),
// or the printed forms of American Express and Diners, 4-6-5 and 4-6-4.
func (c *digits) cardLayout(e int) bool {
	if e == 0 {
		return true
	}
	size := c.groups[0].digits
	same := true
	for k := 1; k <= e; k++ {
		g := c.groups[k]
		if g.sep != c.groups[1].sep || g.sep&0xff == '(' || g.sep&0xff == ')' || g.sep&0xff == '/' {
			return false
		}
		if g.digits != size && (k < e || g.digits > size) {
			same = false
		}
	}
	if same {
		return true
	}
	return e == 2 && size == 4 && c.groups[1].digits == 6 && (c.groups[2].digits == 5 || c.groups[2].digits == 4)
}

// fraction tells whether the digits at text[start:] follow a decimal point.
func fraction(text []byte, start int) bool {
	_, dot := prev(text, start)
	r, _ := prev(text, dot)
	return isDigit(r)
}

// issued tells whether a number of this length starts with a range that is
// given to an issuer of payment cards (ISO/IEC 7812; the networks' published
// ranges).
func issued(d []byte) bool {
	n := len(d)
	six := 0
	for _, v := range d[:6] {
		six = six*10 + int(v)
	}
	in := func(lo, hi int) bool { return lo <= six && six <= hi }
	switch {
	case d[0] == 4: // Visa
		return n == 13 || n == 16 || n == 19
	case in(510000, 559999), in(222100, 272099): // Mastercard
		return n == 16
	case in(340000, 349999), in(370000, 379999): // American Express
		return n == 15
	case in(300000, 305999), in(309500, 309599), in(360000, 369999), in(380000, 399999): // Diners Club
		return n == 14 || n == 16
	case in(352800, 358999): // JCB
		return n >= 16
	case in(601100, 601199), in(644000, 659999): // Discover, RuPay, Troy, Verve
		return n >= 16
	case in(620000, 629999), in(810000, 817199): // UnionPay
		return n >= 16
	case in(220000, 220499): // Mir
		return n >= 16
	case in(979200, 979289): // Troy
		return n == 16
	case in(508500, 508999), in(606985, 608514), in(820000, 829999): // RuPay
		return n == 16
	case in(506099, 506198): // Verve
		return n == 16 || n == 18 || n == 19
	case in(500000, 509999), in(560000, 589999), in(630000, 639999), in(670000, 679999): // Maestro
		return n == 16 || n == 18 || n == 19
	}
	return false
}

// luhn tells whether the digits sum to a multiple of ten by ISO/IEC 7812-1
// annex B, and are not one digit repeated.
func luhn(d []byte) bool {
	sum, same := 0, true
	for i, v := range d {
		same = same && v == d[0]
		n := int(v)
		if (len(d)-i)%2 == 0 {
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum += n
	}
	return sum%10 == 0 && !same
}

// ean13 tells whether the digits are a GTIN-13 with its check digit.
func ean13(d []byte) bool {
	sum := 0
	for i, v := range d {
		sum += int(v) * (1 + i%2*2)
	}
	return sum%10 == 0
}
