package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/policy/corpus"
	"github.com/regate-dev/regate/engine/record"
)

// recordings reads the decisions of many sessions, several sessions at a time.
type recordings struct {
	archive  *record.Archive
	key      ed25519.PublicKey
	since    time.Time
	sessions func(ctx context.Context, each func(found) error) error
	progress *progress
}

// Bounds of what is read ahead, for each session that is being read.
const (
	batchRecords = 128
	batchBytes   = 512 << 10
	maxReaders   = 4 // decompression is a small part; more would only hold more in memory
)

// batch is what one reader found.
type batch struct {
	records []corpus.Recorded
	bytes   int
	err     error // after the records
}

// errEnough ends the reading of a session whose reader was told to stop.
var errEnough = errors.New("nobody reads on")

// source yields the decisions of each session in order; sessions are mixed.
func (a *recordings) source(ctx context.Context) corpus.Source {
	return func(yield func(corpus.Recorded, error) bool) {
		ctx, stop := context.WithCancel(ctx)
		out := make(chan batch)
		ids := make(chan found)
		var readers sync.WaitGroup
		send := func(b batch) error {
			select {
			case out <- b:
				return nil
			case <-ctx.Done():
				return errEnough
			}
		}
		readers.Go(func() {
			defer close(ids)
			var all []found // 24 bytes each, and then it is known how many there are
			err := a.sessions(ctx, func(f found) error {
				all = append(all, f)
				return ctx.Err()
			})
			if err != nil && ctx.Err() == nil && send(batch{err: err}) != nil {
				return
			}
			a.progress.done.Store(0)
			a.progress.total.Store(int64(len(all)))
			for _, f := range all {
				select {
				case ids <- f:
				case <-ctx.Done():
					return
				}
			}
		})
		for range min(maxReaders, runtime.GOMAXPROCS(0)) {
			readers.Go(func() {
				for f := range ids {
					if a.read(ctx, f, send) != nil {
						return
					}
					a.progress.done.Add(1)
				}
			})
		}
		go func() {
			readers.Wait()
			close(out)
		}()
		defer func() {
			stop()
			for range out { // until every reader has gone
			}
		}()
		for b := range out {
			for _, r := range b.records {
				if !yield(r, nil) {
					return
				}
			}
			if b.err != nil && !yield(corpus.Recorded{}, b.err) {
				return
			}
		}
	}
}

// maxProblems is how many problems of one recording are told apart.
const maxProblems = 5

// read sends what one session holds. The error is errEnough.
func (a *recordings) read(ctx context.Context, f found, send func(batch) error) error {
	r := sessionReader{since: a.since, where: "session " + f.id.String(), session: f.id.String(), send: send, parts: map[uint32]*part{}, pending: map[string]record.Request{}}
	problems, err := a.archive.Read(ctx, f.id, a.key, r.event)
	if errors.Is(err, record.ErrNoSession) { // it may have moved from the spool to the archive between two looks
		problems, err = a.archive.Read(ctx, f.id, a.key, r.event)
	}
	if errors.Is(err, errEnough) {
		return err
	}
	if err := r.flush(nil); err != nil {
		return err
	}
	switch {
	case errors.Is(err, record.ErrNoSession) && f.live:
		return send(batch{err: fmt.Errorf("%s: %w", r.where, corpus.ErrNotYet)})
	case err != nil:
		return send(batch{err: err})
	}
	for i, p := range problems {
		err := fmt.Errorf("damaged recording: %s", p)
		if i == maxProblems {
			err = fmt.Errorf("damaged recording: session %s: %d more problems", p.Session, len(problems)-i)
		}
		if err := send(batch{err: err}); err != nil {
			return err
		}
		if i == maxProblems {
			break
		}
	}
	return nil
}

// partsKept is how far back an event may refer to a part: a Writer forgets its
// parts after 4,096, and twice that is kept, as record.Transcript does.
const partsKept = 8_192

// pendingKept bounds the requests whose decision has not come yet. They come at
// once, but for what a damaged recording may hold.
const pendingKept = 256

// part is a shared piece of JSON, its digest checked.
type part struct {
	json   []byte
	digest record.Hash

	bundles map[string]policy.BundleRef // where it is a ruling that was asked for
	ruling  bool
}

// sessionReader puts the decisions of one session together.
type sessionReader struct {
	since   time.Time
	where   string
	session string
	send    func(batch) error
	parts   map[uint32]*part
	pending map[string]record.Request
	next    batch
}

// event takes one event. The error is errEnough.
func (r *sessionReader) event(e record.Event) error {
	switch e.Kind {
	case record.KindPart:
		p, err := record.DecodePart(e.Body)
		if err != nil {
			return nil // the chain's reader reports it
		}
		if sha256.Sum256(p.JSON) != p.Digest {
			return r.flush(fmt.Errorf("damaged recording: %s: part %d is not what its digest says", r.where, p.Index))
		}
		r.parts[p.Index] = &part{json: p.JSON, digest: p.Digest}
		delete(r.parts, p.Index-partsKept)
	case record.KindRequest:
		req, err := record.DecodeRequest(e.Body)
		if err != nil {
			return nil
		}
		if len(r.pending) >= pendingKept {
			clear(r.pending)
		}
		r.pending[req.ID+" "+req.Stage] = req
	case record.KindDecision:
		d, err := record.DecodeDecision(e.Body)
		if err != nil {
			return nil
		}
		key := d.ID + " " + d.Stage
		req, ok := r.pending[key]
		delete(r.pending, key)
		at := time.Unix(0, d.Time).UTC()
		if at.Before(r.since) {
			return nil
		}
		if !ok {
			return r.flush(fmt.Errorf("damaged recording: %s: decision %s has no request", r.where, d.ID))
		}
		rec, err := r.decision(req, d)
		if err != nil {
			return r.flush(fmt.Errorf("damaged recording: %s: decision %s: %w", r.where, d.ID, err))
		}
		r.next.records = append(r.next.records, rec)
		r.next.bytes += len(rec.Input)
		if len(r.next.records) >= batchRecords || r.next.bytes >= batchBytes {
			return r.flush(nil)
		}
	}
	return nil
}

// flush sends what was gathered, and then err.
func (r *sessionReader) flush(err error) error {
	if len(r.next.records) == 0 && err == nil {
		return nil
	}
	b := r.next
	b.err = err
	r.next = batch{}
	return r.send(b)
}

// decision puts the exact input of a decision together and checks its digest.
func (r *sessionReader) decision(req record.Request, d record.Decision) (corpus.Recorded, error) {
	out := corpus.Recorded{
		SessionID: r.session, Turn: d.Turn, DecisionID: d.ID, Time: time.Unix(0, d.Time).UTC(),
		Stage: d.Stage, Effect: d.Effect, Where: r.where, Entries: make([]input.Entry, len(req.Input)),
	}
	last := ""
	for i, e := range req.Input {
		if i > 0 && e.Key <= last {
			return out, fmt.Errorf("input key %q is out of order", e.Key)
		}
		last = e.Key
		entry := input.Entry{Key: e.Key, JSON: e.JSON}
		if e.Part != 0 {
			p := r.parts[e.Part]
			if p == nil {
				return out, fmt.Errorf("input key %q: part %d is missing", e.Key, e.Part)
			}
			entry.JSON, entry.Digest = p.json, input.Digest(p.digest)
		} else {
			entry.Digest = sha256.Sum256(e.JSON)
		}
		out.Entries[i] = entry
	}
	sum := corpus.Digest(out.Entries)
	if record.Hash(sum) != req.InputDigest {
		return out, errors.New("the input is not what its digest says")
	}
	out.InputDigest = sum.String()
	out.Input = corpus.Join(out.Entries)
	if d.Ruling == 0 {
		return out, nil
	}
	p := r.parts[d.Ruling]
	if p == nil {
		return out, fmt.Errorf("ruling: part %d is missing", d.Ruling)
	}
	if !p.ruling {
		bundles, err := corpus.BundlesOf(p.json)
		if err != nil {
			return out, err
		}
		p.bundles, p.ruling = bundles, true
	}
	out.Ruling, out.Bundles = p.json, p.bundles
	return out, nil
}

// targetNames reads the names of targets, and remembers the last.
type targetNames struct {
	digest input.Digest
	known  bool
	name   string
}

func (t *targetNames) of(r *corpus.Recorded) string {
	for i := range r.Entries {
		e := &r.Entries[i]
		if e.Key != "target" {
			continue
		}
		if t.known && t.digest == e.Digest {
			return t.name
		}
		var target struct{ Name string }
		if json.Unmarshal(e.JSON, &target) != nil {
			return ""
		}
		t.digest, t.name, t.known = e.Digest, target.Name, true
		return t.name
	}
	return ""
}
