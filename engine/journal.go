package engine

import (
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/record"
)

// record appends the request and its decision to the journal. Shared parts go
// in once a session; an event refers to them by number.
func (t *Turn) record() {
	s := t.sess
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries, s.scratch = t.doc.AppendEntries(s.entries[:0], s.scratch[:0])
	s.inputs = s.inputs[:0]
	for i := range s.entries {
		e := &s.entries[i]
		if e.Part == nil {
			s.inputs = append(s.inputs, record.InputEntry{Key: e.Key, JSON: e.JSON})
			continue
		}
		s.inputs = append(s.inputs, record.InputEntry{Key: e.Key, Part: s.writer.Intern(e.Digest, e.JSON)})
	}
	body := record.Request{
		Turn: t.n, Time: t.started.UnixNano(), ID: t.id, RequestDigest: t.doc.Request.Digest,
		Stage: string(t.doc.Stage), Input: s.inputs, InputDigest: record.Hash(input.Root(s.entries)),
	}
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
	clear(s.entries)
	clear(s.inputs)
	if cap(s.encoded) > 512<<10 || cap(s.scratch) > 64<<10 {
		s.encoded, s.scratch = nil, nil
	}
}
