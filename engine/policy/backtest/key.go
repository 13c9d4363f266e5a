package backtest

import (
	"bytes"
	"crypto/sha256"
	"path"
	"slices"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/policy/corpus"
)

// keys names documents by what a Set can read of them, as the decision cache
// does: documents of one key get one ruling. What the policies do not read, such
// as time and request id, is not in it; where they do read it, it is.
type keys struct {
	set   *policy.Set
	plans sync.Map // planName → *keyPlan
}

type planName struct{ protocol, target string }

// keyPlan is what the packages that look at one target read.
type keyPlan struct {
	whole bool
	top   []string            // keys that are read, or parts of them that are not worth looking for
	parts map[string][]string // of the keys in byPart: the second keys
	reads [][]string          // every static path, for what a document lacks
}

// byPart are the keys whose parts are told apart, since one part of them is new
// in every request and others are not.
var byPart = []string{"request", "session", "usage"}

func (k *keys) plan(protocol, target string) *keyPlan {
	name := planName{protocol, target}
	if p, ok := k.plans.Load(name); ok {
		return p.(*keyPlan)
	}
	p := makeKeyPlan(k.set, protocol, target)
	kept, _ := k.plans.LoadOrStore(name, p)
	return kept.(*keyPlan)
}

func makeKeyPlan(set *policy.Set, protocol, target string) *keyPlan {
	p := &keyPlan{parts: map[string][]string{}}
	// Combining reads these, and which rules are asked.
	p.top = []string{"enforcer", "protocol", "schema", "stage"}
	for _, info := range set.Packages() {
		if info.Mode != "enforce" || !applies(info, protocol, target) {
			continue
		}
		if set.ReadsClock(info.Name) {
			p.top = append(p.top, "time")
		}
		for _, keys := range set.Reads(info.Name) {
			if len(keys) == 0 || keys[0] == "*" {
				p.whole = true
				continue
			}
			if n := slices.Index(keys, "*"); n >= 0 {
				keys = keys[:n]
			}
			p.reads = append(p.reads, keys)
			if len(keys) > 1 && slices.Contains(byPart, keys[0]) {
				p.parts[keys[0]] = append(p.parts[keys[0]], keys[1])
			} else {
				p.top = append(p.top, keys[0])
			}
		}
	}
	slices.Sort(p.top)
	p.top = slices.Compact(p.top)
	for key, parts := range p.parts {
		if slices.Contains(p.top, key) {
			delete(p.parts, key)
			continue
		}
		slices.Sort(parts)
		p.parts[key] = slices.Compact(parts)
	}
	return p
}

// applies reports whether a package looks at documents of a protocol and target.
func applies(info policy.PackageInfo, protocol, target string) bool {
	return (len(info.Protocols) == 0 || slices.Contains(info.Protocols, protocol)) &&
		(len(info.Targets) == 0 || slices.ContainsFunc(info.Targets, func(glob string) bool {
			ok, err := path.Match(glob, target)
			return ok && err == nil
		}))
}

// of returns the key of a document. A document with approvals is itself: what is
// made of them depends on the time and on who asks.
func (k *keys) of(r *corpus.Recorded, target string) memoKey {
	p := k.plan(text(r.Entry("protocol")), target)
	h := sha256.New()
	whole := p.whole
	if a := r.Entry("approvals"); !bytes.Equal(a, []byte("[]")) {
		whole = true
	}
	piece := func(b []byte) {
		h.Write(b)
		h.Write([]byte{0})
	}
	piece([]byte(target))
	for i := range r.Entries {
		e := &r.Entries[i]
		piece([]byte(e.Key)) // also where its value is not read: a key that is missing may matter
		_, found := slices.BinarySearch(p.top, e.Key)
		switch parts, byPart := p.parts[e.Key]; {
		case whole || found:
			h.Write(e.Digest[:])
		case byPart:
			if !partsOf(e.JSON, parts, piece) {
				h.Write(e.Digest[:])
			}
		}
	}
	var out memoKey
	sum := h.Sum(nil)
	copy(out[:], sum)
	return out
}

// partsOf passes the values of some keys of an object, in the object's order. It
// reports whether raw is an object.
func partsOf(raw []byte, wanted []string, each func([]byte)) bool {
	return eachMember(raw, func(key string, value []byte) {
		if _, ok := slices.BinarySearch(wanted, key); ok {
			each([]byte(key))
			each(value)
		}
	})
}

// eachKey passes the keys of an object.
func eachKey(raw []byte, each func(string)) bool {
	return eachMember(raw, func(key string, _ []byte) { each(key) })
}

// eachMember passes the members of an object. It reports whether raw is one.
func eachMember(raw []byte, each func(key string, value []byte)) bool {
	dec := jsontext.NewDecoder(bytes.NewReader(raw))
	if tok, err := dec.ReadToken(); err != nil || tok.Kind() != '{' {
		return false
	}
	for dec.PeekKind() == '"' {
		tok, err := dec.ReadToken()
		if err != nil {
			return false
		}
		key := tok.String()
		value, err := dec.ReadValue()
		if err != nil {
			return false
		}
		each(key, value)
	}
	return true
}

// text reads a JSON string without escapes, as protocol, stage and schema are.
func text(raw []byte) string {
	if len(raw) < 2 || raw[0] != '"' || bytes.IndexByte(raw, '\\') >= 0 {
		return ""
	}
	return string(raw[1 : len(raw)-1])
}
