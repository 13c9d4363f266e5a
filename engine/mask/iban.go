package mask

// ibans lists each country with the length of its IBAN (SWIFT IBAN registry).
const ibans = "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18" +
	"FR27GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22" +
	"MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23" +
	"TN24TR26UA29VA22VG24XK20YE30"

// maxIBAN is the longest IBAN that the standard allows (ISO 13616).
const maxIBAN = 34

func ibanLength(a, b byte) int {
	for i := 0; i+4 <= len(ibans); i += 4 {
		if ibans[i] == a && ibans[i+1] == b {
			return int(ibans[i+2]-'0')*10 + int(ibans[i+3]-'0')
		}
	}
	return 0
}

// ibanBefore reports an IBAN whose check digits are at text[i:].
func ibanBefore(text []byte, i int, dst []Finding) []Finding {
	if c, b := text[i-1], text[i-2]; c < 0x80 && b < 0x80 && !ibanCountry[b&0x1f][c&0x1f] {
		return dst // decided without decoding
	}
	if r, at := prev(text, i); isLetter(r) {
		return findIBAN(text, at, dst)
	}
	return dst
}

// ibanCountry tells whether two letters, by their lower 5 bits, are a country
// of ibans.
var ibanCountry = func() (t [32][32]bool) {
	for i := 0; i < len(ibans); i += 4 {
		t[ibans[i]&0x1f][ibans[i+1]&0x1f] = true
	}
	return t
}()

// findIBAN reports an IBAN whose second letter is at text[second:]. Letters
// are of one case; spaces, dashes or dots may group it.
func findIBAN(text []byte, second int, dst []Finding) []Finding {
	first, start := prev(text, second)
	if !isLetter(first) {
		return dst
	}
	if r, at := prev(text, start); isAlnum(r) && !escaped(text, at) {
		return dst
	}
	var v [maxIBAN]byte
	upper, lower, hex := false, false, true
	n, want, end := 0, maxIBAN, start
	for n < want {
		r, after := next(text, end)
		if !isAlnum(r) {
			if n < 4 || r != ' ' && r != '-' && r != '.' {
				return dst
			}
			if r, after = next(text, after); !isAlnum(r) {
				return dst
			}
		}
		if isLetter(r) {
			upper, lower = upper || r < 'a', lower || r >= 'a'
			r &^= 0x20
		}
		hex = hex && isHex(r)
		v[n] = byte(r)
		n, end = n+1, after
		if n == 2 {
			if want = ibanLength(v[0], v[1]); want == 0 {
				return dst
			}
		}
	}
	if r, _ := next(text, end); isAlnum(r) {
		return dst
	}
	// A lower-case hexadecimal word of the right length is an object's id.
	if upper && lower || lower && hex || !mod97(v[:n]) {
		return dst
	}
	return append(dst, Finding{KindIBAN, start, end})
}

// mod97 checks an IBAN by ISO 7064 MOD 97-10.
func mod97(v []byte) bool {
	if v[2]-'0' > 9 || v[3]-'0' > 9 {
		return false
	}
	rest := 0
	for i := range v {
		c := v[(i+4)%len(v)]
		if c <= '9' {
			rest = (rest*10 + int(c-'0')) % 97
		} else {
			rest = (rest*100 + int(c-'A') + 10) % 97
		}
	}
	return rest == 1
}
