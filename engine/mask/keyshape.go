package mask

import (
	"regexp/syntax"
	"slices"
	"unicode"
)

// byteSet is a set of bytes.
type byteSet [4]uint64

func (s *byteSet) add(c byte)      { s[c>>6] |= 1 << (c & 63) }
func (s *byteSet) has(c byte) bool { return s[c>>6]&(1<<(c&63)) != 0 }

func (s byteSet) meets(o byteSet) bool {
	return s[0]&o[0]|s[1]&o[1]|s[2]&o[2]|s[3]&o[3] != 0
}

func (s byteSet) within(o byteSet) bool {
	return s[0]&^o[0]|s[1]&^o[1]|s[2]&^o[2]|s[3]&^o[3] == 0
}

// maxHead is how many bytes of a match are known beforehand.
const maxHead = 24

// maxLeads bounds the alternatives that a match can start with.
const maxLeads = 16

// leads returns what the first bytes of a match of the parts, one after
// another, can be, as far as each byte is one literal or one class: a list for
// each alternative among the first bytes. It returns nil when there are more
// than maxLeads.
func leads(prefix []byteSet, parts []*syntax.Regexp) [][]byteSet {
	for len(parts) > 0 && len(prefix) < maxHead {
		first, rest := parts[0], parts[1:]
		switch {
		case first.Op == syntax.OpCapture, first.Op == syntax.OpConcat:
			parts = slices.Concat(first.Sub, rest)
			continue
		case first.Op == syntax.OpAlternate && len(prefix) < 4:
			var all [][]byteSet
			for _, sub := range first.Sub {
				some := leads(prefix, slices.Concat([]*syntax.Regexp{sub}, rest))
				if all = append(all, some...); some == nil || len(all) > maxLeads {
					return nil
				}
			}
			return all
		}
		var whole bool
		if prefix, whole = appendHead(slices.Clone(prefix), first); !whole {
			break
		}
		parts = rest
	}
	return [][]byteSet{prefix[:min(len(prefix), maxHead)]}
}

// appendHead tells in addition whether all of tree is in the list, so that
// what follows it may be appended.
func appendHead(list []byteSet, tree *syntax.Regexp) ([]byteSet, bool) {
	if len(list) >= maxHead {
		return list, false
	}
	switch tree.Op {
	case syntax.OpEmptyMatch, syntax.OpBeginText, syntax.OpWordBoundary, syntax.OpBeginLine:
		return list, true
	case syntax.OpLiteral:
		for _, r := range tree.Rune {
			var s byteSet
			if r >= 0x80 {
				return list, false
			}
			s.add(byte(r))
			if tree.Flags&syntax.FoldCase != 0 {
				// Two runes beyond ASCII fold to k and s; regexps of keys do not
				// mean them.
				s.add(byte(unicode.ToUpper(r)))
				s.add(byte(unicode.ToLower(r)))
			}
			list = append(list, s)
		}
		return list, len(list) < maxHead
	case syntax.OpCharClass:
		var s byteSet
		for i := 0; i < len(tree.Rune); i += 2 {
			for r := tree.Rune[i]; r <= tree.Rune[i+1] && r < 0x80; r++ {
				s.add(byte(r))
			}
			if tree.Rune[i+1] >= 0x80 && tree.Rune[i+1] != 0x17F && tree.Rune[i+1] != 0x212A {
				return list, false
			}
		}
		return append(list, s), true
	case syntax.OpCapture:
		return appendHead(list, tree.Sub[0])
	case syntax.OpConcat:
		for _, sub := range tree.Sub {
			var whole bool
			if list, whole = appendHead(list, sub); !whole {
				return list, false
			}
		}
		return list, true
	case syntax.OpPlus, syntax.OpRepeat:
		low := 1
		if tree.Op == syntax.OpRepeat {
			low = tree.Min
		}
		for range low {
			var whole bool
			if list, whole = appendHead(list, tree.Sub[0]); !whole {
				return list, false
			}
		}
		return list, tree.Op == syntax.OpRepeat && tree.Min == tree.Max
	}
	return list, false
}

// capture returns the tree of capture group n.
func capture(tree *syntax.Regexp, n int) *syntax.Regexp {
	if tree.Op == syntax.OpCapture && tree.Cap == n {
		return tree
	}
	for _, sub := range tree.Sub {
		if found := capture(sub, n); found != nil {
			return found
		}
	}
	return nil
}

// width returns the shortest and longest match of tree in characters; the
// longest is negative when there is none.
func width(tree *syntax.Regexp) (low, high int) {
	switch tree.Op {
	case syntax.OpLiteral:
		return len(tree.Rune), len(tree.Rune)
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return 1, 1
	case syntax.OpCapture:
		return width(tree.Sub[0])
	case syntax.OpConcat:
		for _, sub := range tree.Sub {
			l, h := width(sub)
			low += l
			if high = high + h; h < 0 || high < h {
				high = -1 << 20
			}
		}
		return low, max(high, -1)
	case syntax.OpAlternate:
		for i, sub := range tree.Sub {
			l, h := width(sub)
			if i == 0 || l < low {
				low = l
			}
			if h < 0 || high < 0 {
				high = -1
			} else {
				high = max(high, h)
			}
		}
		return low, high
	case syntax.OpQuest:
		_, h := width(tree.Sub[0])
		return 0, h
	case syntax.OpStar:
		return 0, -1
	case syntax.OpPlus:
		l, _ := width(tree.Sub[0])
		return l, -1
	case syntax.OpRepeat:
		l, h := width(tree.Sub[0])
		if tree.Max < 0 || h < 0 {
			return l * tree.Min, -1
		}
		return l * tree.Min, h * tree.Max
	}
	return 0, 0
}
