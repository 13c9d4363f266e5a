package mask

import (
	"bytes"
	"unicode/utf8"
)

// hidden stands for what a partial mask hides. Its length is fixed: the length
// of a value is part of the value.
const hidden = "***"

// partial appends hidden and the part of value that s keeps.
func partial(dst, value []byte, s Spec, kind string) []byte {
	if s.Keep <= 0 && s.KeepFirst <= 0 && !s.KeepDomain {
		s = defaultPartial(value, kind)
	}
	if s.KeepDomain || kind == KindEmail {
		if at := emailAt(value); at > 0 {
			if s.Keep <= 0 && s.KeepFirst <= 0 {
				s.KeepFirst = 1
			}
			dst = keep(dst, value[:at], s.KeepFirst, s.Keep)
			return append(dst, value[at:]...)
		}
	}
	return keep(dst, value, s.KeepFirst, s.Keep)
}

func defaultPartial(value []byte, kind string) Spec {
	switch kind {
	case KindCard, KindIBAN, KindSSN:
		return Spec{Keep: 4}
	case KindPhone:
		return Spec{Keep: 2}
	case KindEmail:
		return Spec{KeepDomain: true}
	case "":
		if wholeEmail(value) {
			return Spec{KeepDomain: true}
		}
	}
	return Spec{}
}

// emailAt returns where the @ of an address is: the last one, since a quoted
// local part may hold others. Negative when there is none.
func emailAt(value []byte) int {
	return bytes.LastIndexByte(value, '@')
}

// keep appends the first and last runes of value with hidden between them. It
// shows nothing where that would be more than half of the value: four digits
// of a five-digit PIN are the PIN.
func keep(dst, value []byte, first, last int) []byte {
	first, last = max(first, 0), max(last, 0)
	n := utf8.RuneCount(value)
	if first > n || last > n || 2*(first+last) > n {
		return append(dst, hidden...)
	}
	head := 0
	for range first {
		_, size := utf8.DecodeRune(value[head:])
		head += size
	}
	tail := len(value)
	for range last {
		_, size := utf8.DecodeLastRune(value[:tail])
		tail -= size
	}
	dst = append(dst, value[:head]...)
	dst = append(dst, hidden...)
	return append(dst, value[tail:]...)
}
