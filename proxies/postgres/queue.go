package postgres

import "github.com/regate-dev/regate/proxies/postgres/wire"

// owed is one answer that the target owes for a message that was forwarded.
type owed struct {
	kind   byte // the message: P, B, D, E, C, S, Q or F; 'x' for one that regate made to fail
	hidden bool // the agent did not ask: its answer is swallowed
	portal *portal
	named  *statement // P: the statement that it makes
	turn   *turn      // E, F
	turns  []*turn    // Q: one a statement, in order
	closes byte       // C: S or P
	name   string     // C
	at     int        // Q: which of turns is being answered
	report wire.Report
}

// queue holds what is owed, in order.
type queue struct {
	items []owed
	head  int
}

func (q *queue) len() int { return len(q.items) - q.head }

func (q *queue) push(o owed) { q.items = append(q.items, o) }

// first returns the answer that comes next, nil when none is owed.
func (q *queue) first() *owed {
	if q.head == len(q.items) {
		return nil
	}
	return &q.items[q.head]
}

// only reports whether all that is owed behind the first answer is of one kind.
func (q *queue) only(kind byte) bool {
	for _, o := range q.items[q.head+1:] {
		if o.kind != kind {
			return false
		}
	}
	return true
}

// turn returns the turn that the target may be at work on: it tells of what
// came before in a pipeline only later.
func (q *queue) turn() *turn {
	for i := q.head; i < len(q.items); i++ {
		if t := q.items[i].current(); t != nil {
			return t
		}
	}
	return nil
}

func (q *queue) pop() {
	q.items[q.head] = owed{}
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
}

// failed drops everything up to the next Sync, as the target does after an
// error in the extended protocol. It reports whether there was a Sync.
func (q *queue) failed(drop func(*owed)) bool {
	for o := q.first(); o != nil; o = q.first() {
		if o.kind == 'S' {
			return true
		}
		drop(o)
		q.pop()
	}
	return false
}
