package record

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/oklog/ulid/v2"
)

// tombstones verifies the chains of tombstones, and takes the sessions that
// they account for as accounted for.
func (v *verifier) tombstones(ctx context.Context) error {
	if v.opts.Bucket == nil || len(v.only) > 0 {
		return nil
	}
	var recorder string
	var last chainEnd
	return eachTombstone(ctx, v.opts.Bucket, func(key, of string, raw []byte) error {
		if of != recorder {
			recorder, last = of, chainEnd{}
		}
		wrong := func(format string, args ...any) {
			v.problem(Problem{Place: key, Text: "tombstone: " + fmt.Sprintf(format, args...)})
		}
		t, err := DecodeTombstone(raw)
		if err != nil {
			wrong("%v", err)
			last = chainEnd{Tombstone: Tombstone{Seq: last.Seq + 1}, sum: sha256.Sum256(raw)}
			return nil
		}
		if err := t.Check(v.opts.Key); err != nil {
			wrong("%v", err)
		}
		if want := tombstoneKey(of, t); key != want {
			wrong("its place is %s", want)
		}
		switch {
		case t.Seq != last.Seq+1:
			wrong("it has number %d, and %d is before it: some are missing", t.Seq, last.Seq)
		case t.Prev != last.sum:
			wrong("it follows another tombstone than the one before it, which was changed")
		}
		last = chainEnd{Tombstone: t, sum: sha256.Sum256(raw)}
		v.report.Deleted++
		id := ulid.ULID(t.Session).String()
		v.number(t.Gateway, t.Epoch, t.Number, id)
		if v.reports[t.Session] != nil {
			v.note("session %s has a tombstone and is still there: its deletion was cut short, or it came back from a copy", id)
		}
		return nil
	})
}
