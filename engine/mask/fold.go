package mask

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// skipped is what fold makes of characters that nobody sees.
const skipped rune = -1

// fold maps a character to the ASCII character that it looks like to a reader
// or to a program that normalises: NFKC, decimal digits of every script,
// dashes, spaces. Invisible characters give skipped; the rest stays as it is.
func fold(r rune) rune {
	switch {
	case r < 0x80:
		return r
	case r == 0xAD, r == 0x34F, r == 0x115F, r == 0x1160, r == 0x180E, r == 0x3164, r == 0xFFA0,
		0x180B <= r && r <= 0x180D, 0x200B <= r && r <= 0x200F, 0x202A <= r && r <= 0x202E,
		0x2060 <= r && r <= 0x206F, 0xFE00 <= r && r <= 0xFE0F, r == 0xFEFF,
		0xE0000 <= r && r <= 0xE0FFF:
		return skipped
	case 0xFF01 <= r && r <= 0xFF5E:
		return r - 0xFEE0
	case r == 0x2212, r == 0x2043, r == 0x30FC: // minus, hyphen bullet, the kana mark that is typed for a dash
		return '-'
	case r == 0x3002, r == 0xFF61, r == 0xB7, r == 0x2024: // full stops as in IDNA, middle dot
		return '.'
	case r == utf8.RuneError:
		return r
	}
	if unicode.Is(unicode.Pd, r) {
		return '-'
	}
	if unicode.Is(unicode.Zs, r) {
		return ' '
	}
	if v, ok := decimal(r); ok {
		return '0' + v
	}
	var buf [utf8.UTFMax]byte
	p := norm.NFKC.Properties(buf[:utf8.EncodeRune(buf[:], r)])
	if plain := p.Decomposition(); len(plain) == 1 {
		return rune(plain[0])
	}
	return r
}

// decimal returns the value of a decimal digit. Unicode encodes the digits of
// a script as ten in a row, and its tables join only whole tens.
func decimal(r rune) (rune, bool) {
	for _, run := range unicode.Nd.R16 {
		if lo, hi := rune(run.Lo), rune(run.Hi); r <= hi {
			return (r - lo) % 10, r >= lo
		}
	}
	for _, run := range unicode.Nd.R32 {
		if lo, hi := rune(run.Lo), rune(run.Hi); r <= hi {
			return (r - lo) % 10, r >= lo
		}
	}
	return 0, false
}

// next returns the folded character at text[i:] and where the one after it
// starts, passing over invisible ones. At the end it returns 0 and len(text).
func next(text []byte, i int) (r rune, end int) {
	if i < len(text) && text[i] < utf8.RuneSelf {
		return rune(text[i]), i + 1
	}
	return nextWide(text, i)
}

func nextWide(text []byte, i int) (r rune, end int) {
	for i < len(text) {
		r, size := utf8.DecodeRune(text[i:])
		i += size
		if r = fold(r); r != skipped {
			return r, i
		}
	}
	return 0, i
}

// prev returns the folded character that ends at text[:i] and where it starts,
// passing over invisible ones. At the start it returns 0 and 0.
func prev(text []byte, i int) (r rune, start int) {
	if i > 0 && text[i-1] < utf8.RuneSelf {
		return rune(text[i-1]), i - 1
	}
	return prevWide(text, i)
}

func prevWide(text []byte, i int) (r rune, start int) {
	for i > 0 {
		r, size := utf8.DecodeLastRune(text[:i])
		i -= size
		if r = fold(r); r != skipped {
			return r, i
		}
	}
	return 0, i
}

func isDigit(r rune) bool { return '0' <= r && r <= '9' }

func isLetter(r rune) bool { return 'a' <= r|0x20 && r|0x20 <= 'z' }

func isAlnum(r rune) bool { return isDigit(r) || isLetter(r) }

func isHex(r rune) bool { return isDigit(r) || 'a' <= r|0x20 && r|0x20 <= 'f' }

// escaped tells whether the letter at text[i] belongs to a JSON escape such as
// \n or ends one such as \u00e9: then what follows starts a new word.
func escaped(text []byte, i int) bool {
	slashes := func(at int) bool { // an odd number of backslashes ends before at
		n := 0
		for at-n > 0 && text[at-n-1] == '\\' && n < 16 {
			n++
		}
		return n%2 == 1
	}
	if i < 0 || i >= len(text) {
		return false
	}
	switch text[i] {
	case 'n', 't', 'r', 'b', 'f':
		if slashes(i) {
			return true
		}
	}
	return i >= 5 && text[i-4] == 'u' && isHex(rune(text[i])) && isHex(rune(text[i-1])) &&
		isHex(rune(text[i-2])) && isHex(rune(text[i-3])) && slashes(i-4)
}

// mentioned tells whether one of the words, lower-case ASCII, stands within
// the 32 bytes before text[i]. A word with a leading space must not follow a
// letter.
func mentioned(text []byte, i int, words []string) bool {
	for at := max(0, i-32); at < i; at++ {
		c := text[at] | 0x20
		if !isLetter(rune(c)) {
			continue
		}
		for _, word := range words {
			start := word[0] == ' '
			if start {
				word = word[1:]
			}
			if c == word[0] && at+len(word) <= i && equalFold(text[at:at+len(word)], word) &&
				!(start && at > 0 && isLetter(rune(text[at-1]))) {
				return true
			}
		}
	}
	return false
}

// equalFold compares with a lower-case ASCII word of the same length.
func equalFold(b []byte, word string) bool {
	for i := range word {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != word[i] {
			return false
		}
	}
	return true
}
