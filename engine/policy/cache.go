package policy

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// Default bounds of the decision cache.
const (
	defaultCacheEntries = 65_536
	defaultCacheBytes   = 64 << 20
)

const cacheShards = 16

// cache keeps decisions of one plan-set (one snapshot) by key. Shards keep
// writers apart; a hit takes a read lock and sets one bit. What was not used
// since the hand last passed goes first (clock, or second chance): close to
// least recently used without moving anything on a hit.
type cache struct {
	seed   maphash.Seed
	shards [cacheShards]cacheShard
}

type cacheShard struct {
	mu         sync.RWMutex
	entries    map[string]*cacheEntry
	ring       []*cacheEntry // in no order; hand points at the next to look at
	hand       int
	bytes      int64
	maxEntries int
	maxBytes   int64
}

type cacheEntry struct {
	key    string
	ruling *Ruling
	size   int64
	used   atomic.Bool
}

func newCache(c CacheConfig) *cache {
	if c.Disabled {
		return nil
	}
	if c.Entries <= 0 {
		c.Entries = defaultCacheEntries
	}
	if c.Bytes <= 0 {
		c.Bytes = defaultCacheBytes
	}
	out := &cache{seed: maphash.MakeSeed()}
	for i := range out.shards {
		out.shards[i].entries = map[string]*cacheEntry{}
		out.shards[i].maxEntries = max(1, c.Entries/cacheShards)
		out.shards[i].maxBytes = max(1, c.Bytes/cacheShards)
	}
	return out
}

func (c *cache) shard(key []byte) *cacheShard {
	return &c.shards[maphash.Bytes(c.seed, key)%cacheShards]
}

// get returns the ruling kept under key, or nil. It does not allocate.
func (c *cache) get(key []byte) *Ruling {
	s := c.shard(key)
	s.mu.RLock()
	e := s.entries[string(key)]
	s.mu.RUnlock()
	if e == nil {
		return nil
	}
	if !e.used.Load() {
		e.used.Store(true)
	}
	return e.ruling
}

// put keeps r under key and returns what is kept there: the first ruling, when
// two requests computed the same one.
func (c *cache) put(key []byte, r *Ruling) *Ruling {
	size := int64(len(key)) + rulingSize(r)
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[string(key)]; e != nil {
		return e.ruling
	}
	if size > s.maxBytes {
		return r
	}
	for len(s.ring) > 0 && (len(s.ring) >= s.maxEntries || s.bytes+size > s.maxBytes) {
		s.evict()
	}
	e := &cacheEntry{key: string(key), ruling: r, size: size}
	s.entries[e.key] = e
	s.ring = append(s.ring, e)
	s.bytes += size
	return r
}

func (s *cacheShard) evict() {
	for {
		if s.hand >= len(s.ring) {
			s.hand = 0
		}
		e := s.ring[s.hand]
		if e.used.Swap(false) {
			s.hand++
			continue
		}
		last := len(s.ring) - 1
		s.ring[s.hand] = s.ring[last]
		s.ring[last] = nil
		s.ring = s.ring[:last]
		delete(s.entries, e.key)
		s.bytes -= e.size
		return
	}
}

func (c *cache) size() (entries, bytes uint64) {
	if c == nil {
		return 0, 0
	}
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		entries += uint64(len(s.ring))
		bytes += uint64(s.bytes)
		s.mu.RUnlock()
	}
	return entries, bytes
}

// rulingSize estimates a ruling's memory, its JSON included.
func rulingSize(r *Ruling) int64 {
	size := int64(1_024)
	for _, reason := range r.Reasons {
		size += 128 + 2*int64(len(reason.ID)+len(reason.Msg)+len(reason.Hint))
	}
	for _, o := range r.Obligations {
		size += 768 + 2*int64(len(o.ID))
		for _, b := range o.Because {
			size += 2 * int64(len(b))
		}
	}
	return size
}
