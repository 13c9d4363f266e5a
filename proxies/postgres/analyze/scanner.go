package analyze

import "strings"

// scanner splits SQL into tokens as PostgreSQL's scan.l does with
// standard_conforming_strings on, as far as the bound on depth needs it:
// where literals, quoted names and comments begin and end must be exact.
type scanner struct {
	text string
	at   int

	runEnd  int // where the run of operator characters around the last comment's opening ends
	rescans int // characters that scan.l reads more than once, see opening
}

type tokenKind uint8

const (
	tokenEnd tokenKind = iota
	tokenWord
	tokenOperator
	tokenOpen
	tokenClose
	tokenComma
	tokenSemicolon
	tokenOther // literals, quoted names, numbers, parameters, dots
)

type token struct {
	kind       tokenKind
	start, end int
	word       string // in lower case, "" when longer than any keyword here
	count      int    // how many operators a run of operator characters can be
}

const longestKeyword = len("returning")

func isSpace(c byte) bool {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'
}
func isNewline(c byte) bool { return c == '\n' || c == '\r' }
func isDigit(c byte) bool   { return '0' <= c && c <= '9' }
func isWordStart(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c >= 0x80
}
func isWord(c byte) bool     { return isWordStart(c) || isDigit(c) || c == '$' }
func isOperator(c byte) bool { return strings.IndexByte("+-*/<>=~!@#%^&|`?", c) >= 0 }

func (s *scanner) peek(ahead int) byte {
	if s.at+ahead < len(s.text) {
		return s.text[s.at+ahead]
	}
	return 0
}

func (s *scanner) next() token {
	s.skip()
	t := token{start: s.at}
	if s.at >= len(s.text) {
		return t
	}
	t.kind = tokenOther
	c := s.text[s.at]
	switch {
	case c == '(' || c == '[':
		t.kind = tokenOpen
		s.at++
	case c == ')' || c == ']':
		t.kind = tokenClose
		s.at++
	case c == ',':
		t.kind = tokenComma
		s.at++
	case c == ';':
		t.kind = tokenSemicolon
		s.at++
	case c == ':':
		t.kind, t.count = tokenOperator, 1
		s.at++
		if n := s.peek(0); n == ':' || n == '=' {
			s.at++
		}
	case c == '\'':
		s.at++
		s.literal(doubled)
	case c == '"':
		s.at++
		s.quoted('"')
	case c == '$':
		s.dollar()
	case isDigit(c) || c == '.' && isDigit(s.peek(1)):
		s.number()
	case isWordStart(c):
		s.wordOrLiteral(&t)
	case isOperator(c):
		t.kind, t.count = tokenOperator, s.operator()
	default:
		s.at++
	}
	t.end = s.at
	return t
}

// skip passes space and comments; block comments nest.
func (s *scanner) skip() {
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case isSpace(c):
			s.at++
		case c == '-' && s.peek(1) == '-':
			s.line()
		case c == '/' && s.peek(1) == '*':
			s.opening()
			for nested := 1; nested > 0 && s.at < len(s.text); {
				switch {
				case s.peek(0) == '/' && s.peek(1) == '*':
					nested++
					s.opening()
				case s.peek(0) == '*' && s.peek(1) == '/':
					nested--
					s.at += 2
				default:
					s.at++
				}
			}
		default:
			return
		}
	}
}

// opening passes the opening of a block comment. scan.l reads the whole run of
// operator characters that begins there and gives back all but two of them, so
// comments that stand side by side cost it the square of their length: 1 MiB of
// them is minutes in C, where nothing can end it.
func (s *scanner) opening() {
	if s.at >= s.runEnd {
		s.runEnd = s.at
		for s.runEnd < len(s.text) && isOperator(s.text[s.runEnd]) {
			s.runEnd++
		}
	}
	s.rescans += s.runEnd - s.at
	s.at += 2
}

func (s *scanner) line() {
	for s.at < len(s.text) && !isNewline(s.text[s.at]) {
		s.at++
	}
}

// quoting is how quotes are written in a literal.
type quoting uint8

const (
	doubled quoting = iota // '' is a quote
	escaped                // E'…': so is \'
	bits                   // B'…' and X'…': there are none
)

// literal passes the rest of a string literal, with the parts that continue
// it after a newline in the same kind of quoting.
func (s *scanner) literal(q quoting) {
	for s.at < len(s.text) {
		c := s.text[s.at]
		s.at++
		switch {
		case q == escaped && c == '\\':
			s.at++
		case c == '\'':
			if q != bits && s.peek(0) == '\'' {
				s.at++
			} else if !s.continued() {
				return
			}
		}
	}
	s.at = min(s.at, len(s.text))
}

// continued moves behind the quote that continues a literal, if one does:
// space with at least one newline, then a quote. PostgreSQL lets line comments
// stand there too; libpg_query does not, and so refuses such text: two
// literals beside each other.
func (s *scanner) continued() bool {
	ahead := scanner{text: s.text, at: s.at}
	newline := false
	for ahead.at < len(ahead.text) {
		switch c := ahead.text[ahead.at]; {
		case isSpace(c):
			newline = newline || isNewline(c)
			ahead.at++
		case c == '\'' && newline:
			s.at = ahead.at + 1
			return true
		default:
			return false
		}
	}
	return false
}

func (s *scanner) quoted(quote byte) {
	for s.at < len(s.text) {
		c := s.text[s.at]
		s.at++
		if c == quote {
			if s.peek(0) != quote {
				return
			}
			s.at++
		}
	}
}

func (s *scanner) dollar() {
	end := s.at + 1
	if end < len(s.text) && isWordStart(s.text[end]) {
		for end < len(s.text) && (isWordStart(s.text[end]) || isDigit(s.text[end])) {
			end++
		}
	}
	if end < len(s.text) && s.text[end] == '$' {
		tag := s.text[s.at : end+1]
		s.at = end + 1
		if i := strings.Index(s.text[s.at:], tag); i >= 0 {
			s.at += i + len(tag)
		} else {
			s.at = len(s.text)
		}
		return
	}
	s.at++
	for isDigit(s.peek(0)) {
		s.at++ // a parameter
	}
}

// number passes digits, letters of a base or an exponent, and the point. A
// sign after an exponent is left to be an operator, which only counts more.
func (s *scanner) number() {
	for s.at < len(s.text) {
		c := s.text[s.at]
		if !isDigit(c) && !isWordStart(c) && (c != '.' || s.peek(1) == '.') {
			return
		}
		if c >= 0x80 {
			return
		}
		s.at++
	}
}

func (s *scanner) wordOrLiteral(t *token) {
	start := s.at
	c := s.text[s.at]
	switch next := s.peek(1); {
	case next == '\'' && (c == 'e' || c == 'E'):
		s.at += 2
		s.literal(escaped)
		return
	case next == '\'' && strings.IndexByte("bBxX", c) >= 0:
		s.at += 2
		s.literal(bits)
		return
	case next == '\'' && strings.IndexByte("nN", c) >= 0:
		s.at += 2
		s.literal(doubled)
		return
	case next == '&' && (c == 'u' || c == 'U') && (s.peek(2) == '\'' || s.peek(2) == '"'):
		quote := s.peek(2)
		s.at += 3
		if quote == '"' {
			s.quoted('"')
		} else {
			s.literal(doubled)
		}
		return
	}
	for s.at < len(s.text) && isWord(s.text[s.at]) {
		s.at++
	}
	t.kind = tokenWord
	if s.at-start <= longestKeyword {
		t.word = strings.ToLower(s.text[start:s.at])
	}
}

// operator passes a run of operator characters, which ends where a comment
// begins, and returns how many operators it can be: signs at its end may be
// ones of their own.
func (s *scanner) operator() int {
	start := s.at
	for s.at < len(s.text) && isOperator(s.text[s.at]) {
		if s.at > start && (s.text[s.at] == '-' && s.peek(1) == '-' || s.text[s.at] == '/' && s.peek(1) == '*') {
			break
		}
		s.at++
	}
	count := 1
	for i := s.at - 1; i > start && (s.text[i] == '+' || s.text[i] == '-'); i-- {
		count++
	}
	return count
}
