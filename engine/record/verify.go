package record

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
	"gocloud.dev/blob"
)

// VerifyOptions says what to verify. What is nil or empty is left out.
type VerifyOptions struct {
	Bucket *blob.Bucket
	// Spool is a recorder's directory.
	Spool string
	// Journal is that of a stopped gateway, or one that is at rest.
	Journal jetstream.JetStream
	// Log is the directory of such a gateway's local log.
	Log string
	// Key is the public key of the receipts. Nil: signatures are not checked,
	// and the report says so.
	Key ed25519.PublicKey
	// Sessions bounds the work to these ids.
	Sessions []string
	// AllowMissing lets a report be OK although session numbers are not
	// accounted for, as after old recordings were removed on purpose.
	AllowMissing bool
}

// Problem is something that is wrong, and where.
type Problem struct {
	Session string `json:"session,omitempty"`
	Event   uint64 `json:"event,omitempty"` // sequence number, 0 where it is not one event's
	Place   string `json:"place,omitempty"` // the archive's object, the spool's file, or the journal's frame
	Text    string `json:"text"`
}

// String returns the problem as one line.
func (p Problem) String() string {
	var b strings.Builder
	if p.Session != "" {
		fmt.Fprintf(&b, "session %s", p.Session)
	}
	if p.Event != 0 {
		fmt.Fprintf(&b, " event %d", p.Event)
	}
	if p.Place != "" {
		fmt.Fprintf(&b, " (%s)", p.Place)
	}
	if b.Len() == 0 {
		return p.Text
	}
	return strings.TrimSpace(b.String()) + ": " + p.Text
}

// SessionReport is what was verified of one session.
type SessionReport struct {
	ID        string `json:"id"`
	Where     string `json:"where"` // "archive", "spool" or "journal": where its last event is
	Events    uint64 `json:"events"`
	Lost      uint64 `json:"lost"`   // events that are declared lost
	State     string `json:"state"`  // "closed" or "open"
	Reason    string `json:"reason"` // of the close
	Signed    bool   `json:"signed"` // the receipt's signature was checked and is right
	FinalHash string `json:"final_hash"`
	Problems  int    `json:"problems"`
}

// Missing are session numbers of one run of a gateway that nothing has which
// was verified. A gateway numbers its sessions in each run, from 1.
type Missing struct {
	Gateway string `json:"gateway"`
	Run     string `json:"run"`
	Count   uint64 `json:"count"`
	Most    uint64 `json:"most"`    // the highest number that was found
	Numbers string `json:"numbers"` // "2-4, 7", cut short where there are many
	// Ended: the run is over and everything it recorded was looked at, so these
	// recordings are lost. Otherwise they may still be on their way.
	Ended bool `json:"ended"`
}

// String returns the numbers as one line.
func (m Missing) String() string {
	noun := "sessions"
	if m.Count == 1 {
		noun = "session"
	}
	return fmt.Sprintf("gateway %s, run %s: %s %s of %d", m.Gateway, m.Run, noun, m.Numbers, m.Most)
}

// Report is the result of Verify.
type Report struct {
	OK       bool            `json:"ok"` // nothing is wrong, and nothing missing unless that is allowed
	Sessions []SessionReport `json:"sessions"`
	Events   uint64          `json:"events"`
	Frames   uint64          `json:"frames"`  // of the journal
	Deleted  uint64          `json:"deleted"` // recordings that retention has deleted: tombstones
	Problems []Problem       `json:"problems"`
	Missing  []Missing       `json:"missing"`
	Notes    []string        `json:"notes"`
}

type verifier struct {
	opts   VerifyOptions
	report Report
	only   map[ulid.ULID]bool

	wanted  map[ulid.ULID]uint64         // the first event that the journal has of a session
	gaps    map[ulid.ULID]map[uint64]Gap // that the journal declares
	heads   map[ulid.ULID]Hash           // the chain hash before wanted
	reports map[ulid.ULID]*SessionReport
	numbers map[string]map[uint64]string // by gateway and epoch: session number → id
	lasts   map[ulid.ULID]uint64         // the last event that archive or spool have
	moved   bool                         // a file left the spool while it was read
}

// Verify reads everything and reports all that is wrong. The error is for what
// could not be read at all.
func Verify(ctx context.Context, opts VerifyOptions) (*Report, error) {
	v := &verifier{
		opts: opts, only: map[ulid.ULID]bool{}, wanted: map[ulid.ULID]uint64{}, gaps: map[ulid.ULID]map[uint64]Gap{},
		heads: map[ulid.ULID]Hash{}, reports: map[ulid.ULID]*SessionReport{}, numbers: map[string]map[uint64]string{},
		lasts:  map[ulid.ULID]uint64{},
		report: Report{Sessions: []SessionReport{}, Problems: []Problem{}, Missing: []Missing{}, Notes: []string{}},
	}
	for _, s := range opts.Sessions {
		id, err := ulid.ParseStrict(s)
		if err != nil {
			return nil, fmt.Errorf("verify: session %q: %w", s, err)
		}
		v.only[id] = true
	}
	if opts.Key == nil {
		v.note("no public key was given: signatures were not checked")
	}
	err := v.journal(ctx, v.survey)
	if err == nil {
		err = v.archive(ctx, false)
	}
	if err == nil {
		err = v.spool(false)
	}
	if err == nil {
		err = v.tombstones(ctx)
	}
	if err == nil && len(v.only) == 0 && (v.moved || len(v.missing()) > 0) {
		// A recorder at work may have written them since they were looked for.
		if err = v.spool(true); err == nil {
			err = v.archive(ctx, true)
		}
	}
	if err == nil {
		err = v.readJournal(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	for id := range v.only {
		if v.reports[id] == nil {
			v.problem(Problem{Session: id.String(), Text: "it is nowhere"})
		}
	}
	allowed := true
	if len(v.only) == 0 {
		v.report.Missing = v.missing()
		allowed = v.checkNumbers()
	}
	for _, r := range v.reports {
		v.report.Sessions = append(v.report.Sessions, *r)
		v.report.Events += r.Events
	}
	slices.SortFunc(v.report.Sessions, func(a, b SessionReport) int { return strings.Compare(a.ID, b.ID) })
	v.report.OK = len(v.report.Problems) == 0 && allowed
	return &v.report, nil
}

func (v *verifier) note(format string, args ...any) {
	v.report.Notes = append(v.report.Notes, fmt.Sprintf(format, args...))
}

func (v *verifier) problem(p Problem) { v.report.Problems = append(v.report.Problems, p) }

func (v *verifier) wants(id ulid.ULID) bool { return len(v.only) == 0 || v.only[id] }

// session verifies the events of one file.
func (v *verifier) session(id ulid.ULID, where, place string, source eventSource) *follower {
	problems := 0
	f := follow(id, v.opts.Key, v.wanted[id], source, func(seq uint64, err error) {
		problems++
		v.problem(Problem{Session: id.String(), Event: seq, Place: place, Text: err.Error()})
	})
	v.enter(id, where, f, problems)
	v.lasts[id] = f.seq
	if f.wantSeen {
		v.heads[id] = f.wantHead
	}
	return f
}

// enter puts what a follower found into the session's report.
func (v *verifier) enter(id ulid.ULID, where string, f *follower, problems int) {
	r := v.reports[id]
	if r == nil {
		r = &SessionReport{ID: id.String(), State: "open"}
		v.reports[id] = r
	}
	r.Where, r.Problems = where, r.Problems+problems
	r.Events += f.events
	r.Lost += f.losses
	r.FinalHash = hex.EncodeToString(f.head[:])
	if f.closed != nil {
		r.State, r.Reason = "closed", f.closed.Reason
		r.Signed = v.opts.Key != nil && problems == 0
	}
	if f.open != nil {
		v.number(f.open.Gateway, f.open.Epoch, f.open.Number, r.ID)
	} else if f.closed != nil {
		v.number(f.closed.Gateway, f.closed.Epoch, f.closed.Number, r.ID)
	}
}

func (v *verifier) number(gateway string, epoch ulid.ULID, n uint64, id string) {
	if n == 0 {
		return
	}
	key := gateway + " " + epoch.String()
	if v.numbers[key] == nil {
		v.numbers[key] = map[uint64]string{}
	}
	if other, ok := v.numbers[key][n]; ok && other != id {
		v.problem(Problem{Session: id, Text: fmt.Sprintf("session %d of its gateway's run, and so is session %s", n, other)})
	}
	v.numbers[key][n] = id
}

// missing finds sessions that are missing as a whole: numbers below one that
// was found.
func (v *verifier) missing() []Missing {
	out := []Missing{}
	for _, key := range slices.Sorted(maps.Keys(v.numbers)) {
		seen := v.numbers[key]
		gateway, run, _ := strings.Cut(key, " ")
		var most uint64
		for n := range seen {
			most = max(most, n)
		}
		count := most - uint64(len(seen))
		if count == 0 {
			continue
		}
		var list []uint64
		for n := uint64(1); n < most && len(list) < maxMissing; n++ {
			if _, ok := seen[n]; !ok {
				list = append(list, n)
			}
		}
		numbers := ranges(list)
		if uint64(len(list)) < count {
			numbers += ", …"
		}
		out = append(out, Missing{Gateway: gateway, Run: run, Count: count, Most: most, Numbers: numbers, Ended: v.ended(gateway, run)})
	}
	return out
}

// maxMissing bounds how many missing numbers of a run are listed.
const maxMissing = 1000

// ended reports whether everything that a run recorded must have been found.
// The journal is read in order: what a recorder has of a later run it has after
// all of the run before, in its spool or in the archive. Runs are ULIDs.
func (v *verifier) ended(gateway, run string) bool {
	if v.opts.Spool == "" {
		return false
	}
	if v.opts.Journal != nil || v.opts.Log != "" {
		return true
	}
	for key := range v.numbers {
		if other, later, _ := strings.Cut(key, " "); other == gateway && later > run {
			return true
		}
	}
	return false
}

// checkNumbers reports what is missing, and whether the report may be OK.
func (v *verifier) checkNumbers() bool {
	for _, m := range v.report.Missing {
		switch {
		case v.opts.AllowMissing:
			v.note("%s not found", m)
		case m.Ended:
			v.problem(Problem{Text: m.String() + " not found"})
		default:
			v.note("%s not found; they may still be live, in the recorder's spool or in the journal", m)
		}
	}
	return len(v.report.Missing) == 0 || v.opts.AllowMissing
}

// ranges writes "2-4, 7".
func ranges(list []uint64) string {
	var b strings.Builder
	for i := 0; i < len(list); {
		k := i
		for k+1 < len(list) && list[k+1] == list[k]+1 {
			k++
		}
		if i > 0 {
			b.WriteString(", ")
		}
		if k > i {
			fmt.Fprintf(&b, "%d-%d", list[i], list[k])
		} else {
			fmt.Fprint(&b, list[i])
		}
		i = k + 1
	}
	return b.String()
}

// archive verifies the archive's files; later, those that were not there the
// first time.
func (v *verifier) archive(ctx context.Context, later bool) error {
	a := OpenArchive(v.opts.Bucket, "")
	return a.Objects(ctx, func(o Object) error {
		if !v.wants(o.Session) || later && v.reports[o.Session] != nil {
			return nil
		}
		if o.Key != ObjectKey(o.Session) {
			v.problem(Problem{Session: o.Session.String(), Place: o.Key, Text: "a second recording of the session, or one in a wrong place"})
			if _, err := v.opts.Bucket.Exists(ctx, ObjectKey(o.Session)); err != nil {
				return err
			}
		}
		if v.reports[o.Session] != nil {
			return nil // reported above
		}
		f := v.session(o.Session, "archive", o.Key, a.source(ctx, o.Key, o.Session))
		if f.closed == nil {
			v.problem(Problem{Session: o.Session.String(), Event: f.seq, Place: o.Key, Text: "it has no closing receipt: its end is missing"})
			v.reports[o.Session].Problems++
		}
		return ctx.Err()
	})
}

// spool verifies the spool's files; later, those that were not there the first
// time.
func (v *verifier) spool(later bool) error {
	if v.opts.Spool == "" {
		return nil
	}
	files, err := listSpool(v.opts.Spool)
	if err != nil {
		return err
	}
	if !later {
		err = errors.Join(
			v.aside("damaged", "a damaged frame of the journal: what it held is not in any recording"),
			v.aside("late", "a frame that came after its sessions were closed: do two gateways have the same name?"))
	}
	if err != nil {
		return err
	}
	for _, f := range files {
		if !v.wants(f.session) {
			continue
		}
		if v.reports[f.session] != nil {
			continue // archived; the spool is about to be removed
		}
		if err := f.load(func(Event, []byte) {}); err != nil {
			return err
		}
		if _, err := os.Stat(f.path); errors.Is(err, fs.ErrNotExist) {
			v.moved = true // archived since the folder was listed
			continue
		}
		v.session(f.session, "spool", f.path, f.source)
	}
	return nil
}

// aside reports the frames that a recorder kept aside.
func (v *verifier) aside(folder, text string) error {
	entries, err := os.ReadDir(filepath.Join(v.opts.Spool, folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	for _, e := range entries {
		v.problem(Problem{Place: filepath.Join(v.opts.Spool, folder, e.Name()), Text: text})
	}
	return nil
}
