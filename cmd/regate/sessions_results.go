package main

import (
	"fmt"

	"github.com/regate-dev/regate/engine/record"
	"github.com/regate-dev/regate/proxies/postgres/replay"
)

// maxResults bounds the recorded bytes that `sessions show -o json` holds to
// decode them.
const maxResults = 256 << 20

// collectedChunks are the recorded results of a session by turn.
type collectedChunks struct {
	turns map[uint64]*turnChunks
	size  int
}

type turnChunks struct {
	data    []byte
	unknown string // a format that cannot be decoded here
	cut     bool   // at maxResults
}

func (c *collectedChunks) add(e record.Event) error {
	chunk, err := record.DecodeChunk(e.Body)
	if err != nil {
		return fmt.Errorf("event %d: %w", e.Seq, err)
	}
	if c.turns == nil {
		c.turns = map[uint64]*turnChunks{}
	}
	t := c.turns[chunk.Turn]
	if t == nil {
		t = &turnChunks{}
		c.turns[chunk.Turn] = t
	}
	switch {
	case chunk.Format != replay.Backend:
		t.unknown = chunk.Format
	case t.cut || c.size+len(chunk.Data) > maxResults:
		t.cut = true
	default:
		c.size += len(chunk.Data)
		t.data = append(t.data, chunk.Data...)
	}
	return nil
}

// results decodes what was recorded of a turn, nil where nothing was.
func (c *collectedChunks) results(turn uint64) (results any, note string) {
	t := c.turns[turn]
	if t == nil {
		return nil, ""
	}
	if t.unknown != "" {
		note = fmt.Sprintf("format %q is not decoded here", t.unknown)
	}
	if t.cut {
		note = "left out: the session's results are too large; see regate sessions replay"
	}
	if len(t.data) == 0 {
		return nil, note
	}
	list, err := replay.Decode(t.data)
	if err != nil && note == "" {
		note = err.Error()
	}
	return list, note
}
