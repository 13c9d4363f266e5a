package analyze

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxRescans bounds what comments without a space between them cost the C
// scanner, in characters: about 20 ms. A banner of 80 stars costs 82.
const maxRescans = 4 << 20

// prescan refuses text that must not reach the C parser. libpg_query writes
// the parse tree with recursive C: a chain of 25,000 operators (50 KB of
// "1+1+…") overflows its stack and ends the process, which recover cannot
// see. So depth is bounded here, on the text, outside literals and comments.
func prescan(sql string, o Options) error {
	if len(sql) > o.MaxBytes {
		return &ParseError{Reason: ReasonTooLong, Message: fmt.Sprintf("the statement has %d bytes; the limit is %d", len(sql), o.MaxBytes)}
	}
	if i := strings.IndexByte(sql, 0); i >= 0 {
		return &ParseError{Reason: ReasonNUL, Message: "the statement holds a NUL byte", Position: i + 1}
	}
	if !utf8.ValidString(sql) {
		at := 0
		for at < len(sql) {
			r, n := utf8.DecodeRuneInString(sql[at:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			at += n
		}
		return &ParseError{Reason: ReasonInvalidUTF8, Message: "the statement is not valid UTF-8", Position: at + 1}
	}
	d := depth{max: o.MaxChain}
	d.levels = append(d.levels, level{})
	s := scanner{text: sql}
	for {
		t := s.next()
		if s.rescans > maxRescans {
			return &ParseError{Reason: ReasonTooDeep, Message: "the statement holds too many comments side by side", Position: min(t.start, len(sql)-1) + 1}
		}
		if t.kind == tokenEnd {
			return nil
		}
		if !d.token(t) {
			return &ParseError{
				Reason:   ReasonTooDeep,
				Message:  fmt.Sprintf("the statement chains or nests more than %d operators", o.MaxChain),
				Position: t.start + 1,
			}
		}
	}
}

// depth bounds the depth of the parse tree from above, token by token.
//
// Within one pair of brackets, operators chain (left-deep) until a comma, AND,
// OR or a clause begins a new expression; JOIN, NOT and BETWEEN chain until a
// comma; UNION and its kin chain as long as the brackets are open. AND and OR
// themselves do not: the grammar flattens them. What a closed pair held is
// added to the chain that it is an operand of.
type depth struct {
	max    int
	levels []level
	word   string // the previous word, in lower case; "" after any other token
}

type level struct {
	above       int // bound of the levels outside
	ops, maxOps int
	binds, most int  // JOIN, NOT, BETWEEN
	sets        int  // UNION, INTERSECT, EXCEPT
	conditional bool // CASE … END
}

func (l *level) bound() int { return max(l.ops, l.maxOps) + max(l.binds, l.most) + l.sets + 1 }

func (l *level) expression() { l.maxOps, l.ops = max(l.ops, l.maxOps), 0 }

func (l *level) item() {
	l.expression()
	l.most, l.binds = max(l.binds, l.most), 0
}

func (d *depth) top() *level { return &d.levels[len(d.levels)-1] }

func (d *depth) push(conditional bool) {
	t := d.top()
	d.levels = append(d.levels, level{above: t.above + t.bound(), conditional: conditional})
}

func (d *depth) pop() {
	if len(d.levels) == 1 {
		return
	}
	inner := d.top().bound()
	d.levels = d.levels[:len(d.levels)-1]
	d.top().ops += inner + 1
}

// token takes one token and says whether the bound still holds.
func (d *depth) token(t token) bool {
	top := d.top()
	word := ""
	switch t.kind {
	case tokenOpen:
		d.push(false)
	case tokenClose:
		for len(d.levels) > 1 && d.top().conditional {
			d.pop()
		}
		d.pop()
	case tokenComma:
		top.item()
	case tokenSemicolon:
		d.levels = append(d.levels[:0], level{})
	case tokenOperator:
		top.ops += t.count
	case tokenWord:
		word = t.word
		switch word {
		case "and", "or":
			top.expression()
		case "where", "from", "on", "having", "set", "returning", "limit":
			top.expression()
		case "select":
			top.item()
		case "union", "intersect", "except":
			top.item()
			top.sets++
		case "join", "between":
			top.binds++
		case "not":
			if d.word != "is" {
				top.binds++
			}
		case "case":
			d.push(true)
		case "when", "then", "else":
			if top.conditional {
				top.item()
			}
		case "end":
			if top.conditional {
				d.pop()
			}
		case "is", "isnull", "notnull", "like", "ilike", "similar", "in", "collate", "at", "overlaps", "escape", "operator":
			top.ops++
		}
	}
	d.word = word
	top = d.top()
	return top.above+top.bound() <= d.max
}
