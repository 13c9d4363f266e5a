package backtest

import (
	"context"
	"crypto/sha256"
	"slices"
	"sync"

	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/policy/corpus"
)

// judge asks one Set, once for each input that it can tell apart. It may be used
// by many goroutines.
type judge struct {
	set     *policy.Set
	keys    keys
	memo    *memo[judged]
	digests string

	mu       sync.Mutex
	verdicts map[[sha256.Size]byte]*verdict // by the ruling's digest: there are few
}

// judged is what a Set says of one input.
type judged struct {
	verdict *verdict
	missing []string // paths that are read and that the input does not have
	hits    []int32  // rules that held, by a tracer's numbers; nil without one
}

// verdictsKept bounds the shared verdicts.
const verdictsKept = 8_192

func newJudge(set *policy.Set) *judge {
	return &judge{
		set: set, keys: keys{set: set}, memo: newMemo[judged](memoEntries, memoBytes),
		digests: digestsOf(set.Bundles()), verdicts: map[[sha256.Size]byte]*verdict{},
	}
}

// of returns what the Set says of r; evaluated says that it was asked. tracer
// may be nil; it is made for each evaluation, and hits is called after it.
func (j *judge) of(ctx context.Context, r *corpus.Recorded, target string, trace func() (topdown.QueryTracer, func() []int32)) (out judged, evaluated bool) {
	return j.memo.get(j.keys.of(r, target), func() (judged, int64) {
		var tracers []topdown.QueryTracer
		var hits func() []int32
		if trace != nil {
			t, h := trace()
			tracers, hits = append(tracers, t), h
		}
		var out judged
		var size int64
		ruling, err := j.set.EvaluateTraced(ctx, r.Input, tracers...)
		if err == nil {
			out.verdict, size, err = j.verdict(ruling)
		}
		if err != nil { // the input is no object, or a ruling is of a form that is not known here
			out.verdict = &verdict{failed: true, reasons: []reason{{ID: policy.ReasonError, Owner: engineOwner}}, errors: []string{err.Error()}}
			size = out.verdict.size()
		}
		if hits != nil {
			out.hits = hits()
			size += int64(4 * len(out.hits))
		}
		out.missing = j.missing(r, target)
		return out, size
	})
}

// verdict returns the shared verdict of a ruling; size is what it adds.
func (j *judge) verdict(r *policy.Ruling) (*verdict, int64, error) {
	digest := r.Digest()
	j.mu.Lock()
	v := j.verdicts[digest]
	j.mu.Unlock()
	if v != nil {
		return v, 0, nil
	}
	v, err := parseVerdict(r.JSON(), "")
	if err != nil {
		return nil, 0, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if known := j.verdicts[digest]; known != nil {
		return known, 0, nil
	}
	if len(j.verdicts) >= verdictsKept {
		clear(j.verdicts)
	}
	j.verdicts[digest] = v
	return v, v.size(), nil
}

// missing lists what the Set reads and the document does not have, by its first
// two keys: a newer regate puts more into an input than an older one recorded.
func (j *judge) missing(r *corpus.Recorded, target string) []string {
	var out []string
	for _, path := range j.keys.plan(text(r.Entry("protocol")), target).reads {
		raw := r.Entry(path[0])
		if raw == nil {
			if !protocolKey(path[0]) {
				out = append(out, path[0])
			}
			continue
		}
		if len(path) < 2 || len(raw) == 0 || raw[0] != '{' || freeKeys(path[0]) {
			continue
		}
		found := false
		if partsOf(raw, path[1:2], func([]byte) { found = true }) && !found {
			out = append(out, path[0]+"."+path[1])
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// protocolKey reports whether a top-level key is one protocol's own: packages
// for several protocols read what others do not have.
func protocolKey(key string) bool {
	return slices.Contains([]string{"sql", "kubernetes", "http", "mcp", "parameters"}, key)
}

// freeKeys reports whether a top-level key's own keys differ from protocol to
// protocol.
func freeKeys(key string) bool {
	return slices.Contains([]string{"action", "resource"}, key) || protocolKey(key)
}

// decided reports whether the Set is what decided v.
func (j *judge) decided(v *verdict) bool { return v.digests != "" && v.digests == j.digests }
