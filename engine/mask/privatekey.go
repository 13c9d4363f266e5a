package mask

import "bytes"

// maxPrivateKey is the longest block that is looked for, in bytes. An RSA key
// of 16384 bits is 13 KB as PEM, an OpenPGP key with photographs may be 50.
const maxPrivateKey = 64 << 10

// maxMarker is the longest line that opens or closes a block.
const maxMarker = 120

var (
	keyWord   = []byte("PRIVATE KEY")
	beginWord = []byte("BEGIN ")
	endWord   = []byte("END ")
)

// findPrivateKey reports blocks from ---- BEGIN … PRIVATE KEY… ---- to the
// matching END, with real line ends or JSON's \n. A block without an END is
// masked as far as it can be one: it was cut off, not made harmless.
func findPrivateKey(text []byte, dst []Finding) []Finding {
	for i := 0; ; {
		start, body, end, _ := nextPrivateKey(text, i)
		if start < 0 {
			return dst
		}
		dst = append(dst, Finding{KindPrivateKey, start, end})
		i = body
	}
}

// nextPrivateKey returns the first block whose opening words stand at or after
// text[i:]: where it starts, where its body starts and where it ends. start is
// negative when there is none. open: more text could move the end.
func nextPrivateKey(text []byte, i int) (start, body, end int, open bool) {
	for {
		k := bytes.Index(text[i:], keyWord)
		if k < 0 {
			return -1, 0, 0, false
		}
		start, body = dashedWord(text, i+k, beginWord), i+k+len(keyWord)
		if start >= 0 {
			end, open = keyCloses(text, start, body)
			return start, body, end, open
		}
		i = body
	}
}

// settledPrivateKey returns where text can be cut at or before cut: before the
// opening line of a block whose end is not there yet.
func settledPrivateKey(text []byte, cut int) int {
	for i := max(0, cut-maxPrivateKey); ; {
		start, body, _, open := nextPrivateKey(text, i)
		if start < 0 || start >= cut {
			return cut
		}
		if open {
			return start
		}
		i = body
	}
}

// dashedWord looks back from text[word:] for verb with dashes before it and
// returns where these start; between verb and the words stands only what names
// an algorithm.
func dashedWord(text []byte, word int, verb []byte) int {
	low := max(0, word-maxMarker)
	at := bytes.LastIndex(text[low:word], verb)
	if at < 0 {
		return -1
	}
	at += low
	for _, c := range text[at:word] {
		if !isAlnum(rune(c)) && c != ' ' && c != '_' && c != '-' {
			return -1
		}
	}
	start := at
	for start > low && (text[start-1] == '-' || text[start-1] == ' ') {
		start--
	}
	for start < at && text[start] == ' ' {
		start++
	}
	if bytes.Count(text[start:at], []byte("-")) < 4 {
		return -1
	}
	return start
}

// keyCloses returns where the block ends.
func keyCloses(text []byte, start, body int) (end int, open bool) {
	limit := min(len(text), start+maxPrivateKey)
	open = limit < start+maxPrivateKey
	for i := body; ; {
		k := bytes.Index(text[i:limit], keyWord)
		if k < 0 {
			break
		}
		i += k
		if dashedWord(text[body:], i-body, endWord) >= 0 {
			i += len(keyWord)
			for i < limit && (text[i] == ' ' || 'A' <= text[i] && text[i] <= 'Z') {
				i++ // " BLOCK"
			}
			for i < limit && text[i] == '-' {
				i++
			}
			return i, open && i == limit
		}
		if next := dashedWord(text[body:], i-body, beginWord); next >= 0 {
			limit, open = body+next, false // another block opens: this one was cut off
			break
		}
		i += len(keyWord)
	}
	i := body
	for i < limit && keyBody(text[i]) {
		i++
	}
	return i, open
}

// keyBody tells whether c stands in the body of a block: base64, line ends as
// such or escaped, and headers such as "DEK-Info: AES-128-CBC,0A1B".
func keyBody(c byte) bool {
	switch c {
	case '+', '/', '=', '-', ' ', '\t', '\r', '\n', '\\', ':', ',', '.', '(', ')', '@', '_':
		return true
	}
	return isAlnum(rune(c))
}
