package usage

import (
	"sync"
	"time"
)

// meter counts for one key. What it has counted is in three places: in the
// bucket (base), on the way there (flying), and not yet sent (delta).
type meter struct {
	key string

	mu       sync.Mutex
	base     tally
	revision uint64 // of base in the bucket, 0: there is none
	flying   tally
	flight   string // names the write that is under way, or of which it is not known whether it happened
	delta    tally
	queued   bool  // among those to be flushed
	loaded   bool  // base is what the bucket has
	bad      error // what the bucket has cannot be read
	gone     bool  // no longer in the ledger: take the one that is
}

// count adds c and returns what was counted before. ok is false where the meter
// is gone and nothing was added; known is false where the counts cannot be
// trusted; first is true where the meter is now to be queued for a flush.
func (m *meter) count(now time.Time, c Counts) (before Windows, ok, known, first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone {
		return before, false, false, false
	}
	before = m.base.at(now).plus(m.flying.at(now)).plus(m.delta.at(now))
	known = m.loaded && m.bad == nil
	if c != (Counts{}) {
		m.delta.add(now, c)
	}
	if (!m.delta.empty() || !m.loaded) && !m.queued {
		m.queued, first = true, true
	}
	return before, true, known, first
}

// take is called with an entry of the bucket: a watch brings it, or a read.
func (m *meter) take(value []byte, revision uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if revision <= m.revision {
		return // seen already
	}
	t, by, err := decode(value)
	m.revision, m.bad, m.loaded = revision, err, true
	if err != nil {
		return
	}
	m.base = t
	if by == m.flight {
		m.flying, m.flight = tally{}, ""
	}
}

// reset forgets what the bucket no longer has.
func (m *meter) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.base, m.revision, m.bad, m.loaded = tally{}, 0, nil, true
}

// launch prepares a write: its value, its name and the revision that it must
// follow. ok is false where there is nothing to write.
func (m *meter) launch(name string) (value []byte, revision uint64, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.flying.merge(m.delta)
	m.delta = tally{}
	if m.flying.empty() || m.bad != nil {
		return nil, 0, false
	}
	m.flight = name
	sum := m.base.clone()
	sum.merge(m.flying)
	return sum.encode(name), m.revision, true
}

// landed is called when the bucket has taken the write.
func (m *meter) landed(name string, value []byte, revision uint64) {
	m.take(value, revision)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.flight == name { // another gateway's write over it came by the watch first
		m.flying, m.flight = tally{}, ""
	}
}
