package backtest

import "sync"

// memo computes a value once for each key, also where several goroutines ask at
// once. It keeps a bounded number of keys: what was not asked for since the
// young generation was begun twice is forgotten, and computed again.
type memo[T any] struct {
	shards [memoShards]memoShard[T]
	bound  int   // keys of one generation of one shard
	bytes  int64 // of values in one generation of one shard
}

const memoShards = 32

// Bounds of what is kept at least; at most it is twice as much. A key takes
// about 100 bytes; values are mostly shared, and those that are not are counted.
const (
	memoEntries = 400_000
	memoBytes   = 32 << 20
)

type memoKey [16]byte

type memoShard[T any] struct {
	mu         sync.Mutex
	young, old map[memoKey]*memoEntry[T]
	bytes      int64 // of the young ones' values
}

type memoEntry[T any] struct {
	once  sync.Once
	value T
}

func newMemo[T any](entries int, bytes int64) *memo[T] {
	m := &memo[T]{bound: max(1, entries/memoShards), bytes: max(1, bytes/memoShards)}
	for i := range m.shards {
		m.shards[i].young = map[memoKey]*memoEntry[T]{}
	}
	return m
}

// get returns the value of key, computed by build the first time, which also
// says how many bytes of memory it takes. made says that this call computed it.
func (m *memo[T]) get(key memoKey, build func() (T, int64)) (value T, made bool) {
	s := &m.shards[key[0]%memoShards]
	s.mu.Lock()
	e := s.young[key]
	if e == nil {
		if e = s.old[key]; e == nil {
			e = &memoEntry[T]{}
		}
		if len(s.young) >= m.bound || s.bytes >= m.bytes {
			s.young, s.old, s.bytes = map[memoKey]*memoEntry[T]{}, s.young, 0
		}
		s.young[key] = e
	}
	s.mu.Unlock()
	var size int64
	e.once.Do(func() {
		made = true
		e.value, size = build()
	})
	if size > 0 {
		s.mu.Lock()
		s.bytes += size
		s.mu.Unlock()
	}
	return e.value, made
}
