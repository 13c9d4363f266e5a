package mask

// The classes of bytes at which walk stops.
const (
	plain byte = iota
	digit      // an ASCII digit
	at         // @
	lead       // may start a digit or an @ that is not ASCII
)

// classify fills the class table for the kinds that are looked for.
func (d *Detector) classify() {
	numbers := d.card || d.phone || d.ssn || d.iban
	if numbers {
		for c := '0'; c <= '9'; c++ {
			d.class[c] = digit
		}
		// Lead bytes of the blocks with digits or their NFKC kin: superscripts
		// (C2, E2 81), Arabic and Indic digits (D9–E1), circled (E2 91), fullwidth
		// (EF), mathematical (F0). Letters of most scripts share E0 and E1, so
		// that walk looks at the rune before it does anything more.
		for _, c := range []byte{0xC2, 0xD9, 0xDB, 0xDF, 0xE0, 0xE1, 0xE2, 0xEA, 0xEF, 0xF0} {
			d.class[c] = lead
		}
	}
	if d.email {
		d.class['@'] = at
		d.class[0xEF] = lead
	}
	switch {
	case d.phone:
		d.least = minPhone
	case d.ssn:
		d.least = 9
	case d.card:
		d.least = 13
	default:
		d.least = 1 << 30
	}
	d.any = numbers || d.email
	d.reach = d.lookahead()
}

// walk passes once over text and verifies each candidate that it comes to.
func (d *Detector) walk(text []byte, dst []Finding) []Finding {
	class := &d.class
	for i := 0; i < len(text); {
		c := class[text[i]]
		if c == plain {
			i++
			continue
		}
		switch c {
		case at:
			dst = findEmail(text, i, i+1, dst)
			i++
		case digit:
			i, dst = d.number(text, i, dst)
		case lead:
			r, end := next(text, i)
			switch {
			case r == '@' && d.email:
				dst = findEmail(text, i, end, dst)
				i = end
			case isDigit(r) && (d.card || d.phone || d.ssn || d.iban):
				i, dst = d.number(text, i, dst)
			default:
				i++
			}
		}
	}
	return dst
}
