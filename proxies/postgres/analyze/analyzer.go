package analyze

import (
	"sync"

	"github.com/regate-dev/regate/proxies/postgres/catalog"
)

// Options bound what the analyser takes on. Zero values take the defaults.
type Options struct {
	// MaxBytes is the longest text, 1 MiB by default.
	MaxBytes int
	// MaxChain bounds how deep a parse tree the text can make: operators,
	// casts, set operations and joins in one chain, and nesting. The C parser
	// overflows its stack at about 25,000 and is super-linear before that;
	// PostgreSQL itself refuses at its max_stack_depth. 2,000 by default. With
	// a C library whose threads have small stacks (musl: 128 KiB) it must be a
	// tenth of that.
	MaxChain int
	// CacheBytes bounds the cache of results, 32 MiB by default; negative is
	// no cache.
	CacheBytes int
}

// Analyzer analyses SQL. It is safe for concurrent use.
type Analyzer struct {
	options Options
	cache   *cache
	large   sync.Mutex // held while a large text is analysed
}

// largeText is the size from which texts are analysed one at a time: a parse
// tree takes some hundred times the memory of its text, and a second for
// each few hundred kilobytes.
const largeText = 64 << 10

// New returns an Analyzer.
func New(o Options) *Analyzer {
	if o.MaxBytes == 0 {
		o.MaxBytes = 1 << 20
	}
	if o.MaxChain == 0 {
		o.MaxChain = 2000
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 32 << 20
	}
	return &Analyzer{options: o, cache: newCache(o.CacheBytes)}
}

// Analyze analyses sql. A nil snapshot resolves no name. The error is a
// *ParseError.
func (a *Analyzer) Analyze(sql string, snap *catalog.Snapshot, set Settings) (*Batch, error) {
	key := cacheKey(sql, snap, set)
	if b := a.cache.get(key); b != nil {
		return b, nil
	}
	if err := prescan(sql, a.options); err != nil {
		return nil, err
	}
	if len(sql) > largeText {
		a.large.Lock()
		defer a.large.Unlock()
	}
	b, cacheable, err := analyzeBatch(sql, snap, set)
	if err != nil {
		return nil, err
	}
	if cacheable {
		a.cache.put(key, b)
	}
	return b, nil
}
