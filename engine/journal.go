package engine

import (
	"crypto/sha256"

	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/record"
)

// record appends the request and its decision to the journal. Shared parts go
// in once a session; an event refers to them by number.
func (t *Turn) record() {
	s := t.sess
	s.mu.Lock()
	defer s.mu.Unlock()
	entries := t.doc.Entries()
	body := record.Request{
		Turn: t.n, Time: t.started.UnixNano(), ID: t.id, RequestDigest: t.doc.Request.Digest,
		Stage: string(t.doc.Stage), Input: make([]record.InputEntry, 0, len(entries)),
	}
	root := sha256.New()
	for i := range entries {
		e := &entries[i]
		root.Write([]byte(e.Key))
		root.Write([]byte{0})
		root.Write(e.Digest[:])
		if e.Part == nil {
			body.Input = append(body.Input, record.InputEntry{Key: e.Key, JSON: e.JSON})
			continue
		}
		body.Input = append(body.Input, record.InputEntry{Key: e.Key, Part: s.writer.Intern(e.Digest, e.JSON)})
	}
	root.Sum(body.InputDigest[:0])
	s.encoded = body.Encode(s.encoded[:0])
	s.writer.Append(record.KindRequest, s.encoded)
	ruling := t.Ruling
	if ruling.Effect == policy.Allow {
		s.meters.allowed.Inc()
	} else {
		s.gate.metrics.denied(s, ruling)
	}
	s.encoded = record.Decision{
		Turn: t.n, ID: t.id, Time: s.gate.cfg.Clock().UnixNano(), Stage: string(t.doc.Stage),
		Effect: ruling.Effect.String(), Ruling: s.writer.Intern(ruling.Digest(), ruling.JSON()),
	}.Encode(s.encoded[:0])
	t.decided = s.writer.Append(record.KindDecision, s.encoded)
	if cap(s.encoded) > 512<<10 {
		s.encoded = nil
	}
}
