package analyze

import (
	"container/list"
	"encoding/binary"
	"sync"

	"github.com/regate-dev/regate/proxies/postgres/catalog"
)

// cache holds batches by all that their meaning depends on, bounded by bytes.
type cache struct {
	limit int

	mu      sync.Mutex
	entries map[string]*list.Element
	order   *list.List // most recently used first
	bytes   int
}

type entry struct {
	key   string
	batch *Batch
	bytes int
}

// overhead is what one statement costs beside its text, by measurement of a
// small SELECT: parts, their JSON and the lists.
const overhead = 6 << 10

func newCache(limit int) *cache {
	return &cache{limit: limit, entries: map[string]*list.Element{}, order: list.New()}
}

func (c *cache) get(key string) *Batch {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if !ok {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*entry).batch
}

func (c *cache) put(key string, b *Batch) {
	size := len(key)
	for _, s := range b.Statements {
		size += overhead + 3*len(s.Text) + 200*(len(s.Facts.UsesColumns)+len(s.Facts.Touched))
		for _, o := range s.Outputs {
			size += 64 + 32*len(o.Sources)
		}
	}
	if size > c.limit/8 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.entries[key]; ok {
		return
	}
	c.entries[key] = c.order.PushFront(&entry{key: key, batch: b, bytes: size})
	c.bytes += size
	for c.bytes > c.limit {
		last := c.order.Back()
		old := last.Value.(*entry)
		c.order.Remove(last)
		delete(c.entries, old.key)
		c.bytes -= old.bytes
	}
}

// cacheKey joins all that a result depends on. Every part is preceded by its
// length, so that no two inputs share a key.
func cacheKey(sql string, snap *catalog.Snapshot, set Settings) string {
	key := make([]byte, 0, len(sql)+128)
	add := func(s string) {
		key = binary.AppendUvarint(key, uint64(len(s)))
		key = append(key, s...)
	}
	add(sql)
	if snap == nil {
		add("")
	} else {
		add(snap.ID)
	}
	key = binary.AppendUvarint(key, uint64(len(set.SearchPath)))
	for _, schema := range set.SearchPath {
		add(schema)
	}
	add(set.User)
	add(string(set.Mode))
	if set.AST {
		add("ast")
	} else {
		add("")
	}
	if set.Temp != nil {
		add(set.Temp.fingerprint())
	}
	return string(key)
}
