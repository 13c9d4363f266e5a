package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/engine/policy/corpus"
	"github.com/regate-dev/regate/engine/record"
)

// recordedFlags say which recorded decisions a command works on: those of the
// archive, or those in files. Several commands share them.
type recordedFlags struct {
	where    archiveFlags
	since    string
	until    string
	sessions []string
	agent    string
	target   string

	progress progress // of what source reads
}

func (f *recordedFlags) add(cmd *cobra.Command) {
	f.where.add(cmd)
	f.where.addIndex(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.since, "since", "", "decided since: 90m, 24h, 30d, or a date or time")
	flags.StringVar(&f.until, "until", "", "decided before: 1h, 7d, or a date or time")
	flags.StringSliceVar(&f.sessions, "session", nil, "of this session; may be given again")
	flags.StringVar(&f.agent, "agent", "", "of this agent: the actor, or the subject where nobody acts for it")
	flags.StringVar(&f.target, "target", "", "on the target of this name")
}

// given reports whether a flag or an argument says which decisions are meant.
func (f *recordedFlags) given(files []string) bool {
	return len(files) > 0 || f.since != "" || f.until != "" || len(f.sessions) > 0 || f.where.archive != ""
}

// source returns the decisions that the flags select. It may be read again.
// close frees what it holds open.
func (f *recordedFlags) source(ctx context.Context, files []string) (corpus.Source, func() error, error) {
	now := time.Now()
	since, err := parseSince(f.since, now)
	if err != nil {
		return nil, nil, &usageError{fmt.Errorf("--since: %w", err)}
	}
	until, err := parseSince(f.until, now)
	if err != nil {
		return nil, nil, &usageError{fmt.Errorf("--until: %w", err)}
	}
	nothing := func() error { return nil }
	var all corpus.Source
	closer := nothing
	if len(files) > 0 {
		if f.where.archive != "" {
			return nil, nil, &usageError{errors.New("files and --archive exclude each other")}
		}
		for _, name := range files {
			if _, err := os.Stat(name); err != nil {
				return nil, nil, err
			}
		}
		all = corpus.Files(files...)
	} else if all, closer, err = f.archived(ctx, since); err != nil {
		return nil, nil, err
	}
	return corpus.Keep(all, f.keep(since, until, len(files) > 0)), closer, nil
}

// keep selects by time, agent, target and, in files, session.
func (f *recordedFlags) keep(since, until time.Time, inFiles bool) func(*corpus.Recorded) bool {
	var agents corpus.Agents
	var targets targetNames
	return func(r *corpus.Recorded) bool {
		if !since.IsZero() && r.Time.Before(since) || !until.IsZero() && !r.Time.Before(until) {
			return false
		}
		if inFiles && len(f.sessions) > 0 && !containsFold(f.sessions, r.SessionID) {
			return false
		}
		if f.target != "" && targets.of(r) != f.target {
			return false
		}
		if f.agent != "" {
			who, err := agents.Of(r)
			return err == nil && who.Is(f.agent)
		}
		return true
	}
}

func containsFold(list []string, s string) bool {
	for _, one := range list {
		if strings.EqualFold(one, s) {
			return true
		}
	}
	return false
}

// archived opens the archive and finds the sessions that may hold decisions
// since then.
func (f *recordedFlags) archived(ctx context.Context, since time.Time) (corpus.Source, func() error, error) {
	wanted := make([]ulid.ULID, len(f.sessions))
	for i, id := range f.sessions {
		var err error
		if wanted[i], err = ulid.ParseStrict(strings.ToUpper(id)); err != nil {
			return nil, nil, &usageError{fmt.Errorf("%q is not a session id", id)}
		}
	}
	f.where.fill()
	var key ed25519.PublicKey
	key, err := f.where.publicKey()
	if err != nil {
		return nil, nil, err
	}
	bucket, err := openBucket(ctx, f.where.archive)
	if err != nil {
		return nil, nil, err
	}
	a := &recordings{archive: record.OpenArchive(bucket, f.where.spool), key: key, since: since, progress: &f.progress}
	closers := []func() error{bucket.Close}
	closer := func() error {
		var errs []error
		for _, c := range closers {
			errs = append(errs, c())
		}
		return errors.Join(errs...)
	}
	switch {
	case len(wanted) > 0:
		a.sessions = func(_ context.Context, each func(found) error) error {
			for _, id := range wanted {
				if err := each(found{id: id}); err != nil {
					return err
				}
			}
			return nil
		}
	default:
		index, err := openIndex(f.where.index)
		if err != nil {
			return nil, nil, errors.Join(err, closer())
		}
		if index == nil {
			a.sessions = a.listed
			break
		}
		closers = append(closers, index.Close)
		a.sessions = func(ctx context.Context, each func(found) error) error {
			return indexed(ctx, index, since, f.target, f.agent, each)
		}
	}
	return a.source(ctx), closer, nil
}

// openIndex opens the index for reading; nil where there is none, and every
// recording is looked at.
func openIndex(path string) (*record.Index, error) {
	if path == "" {
		return nil, nil
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return record.ReadIndex(path)
}

// found is a session that may hold decisions.
type found struct {
	id   ulid.ULID
	live bool // as the index says: it may not be at hand
}

// indexPage is how many sessions are asked of the index at a time.
const indexPage = 500

// indexed calls each for every session that had not ended before since, newest
// first. target and agent may be "".
func indexed(ctx context.Context, index *record.Index, since time.Time, target, agent string, each func(found) error) error {
	filter := record.SessionFilter{Target: target, Limit: indexPage}
	for {
		rows, err := index.Sessions(ctx, filter)
		if err != nil {
			return err
		}
		for _, row := range rows {
			filter.Before = row.ID
			if !row.Ended.IsZero() && row.Ended.Before(since) {
				continue
			}
			if who := (corpus.Agent{Subject: row.Subject, Actor: row.Actor}); agent != "" && !who.Is(agent) {
				continue // a session is one agent's
			}
			id, err := ulid.ParseStrict(row.ID)
			if err != nil {
				continue // the gateway's own
			}
			if err := each(found{id: id, live: row.State != record.StateArchived}); err != nil {
				return err
			}
		}
		if len(rows) < indexPage {
			return nil
		}
	}
}

// listed calls each for every session of archive and spool.
func (a *recordings) listed(ctx context.Context, each func(found) error) error {
	if err := a.archive.Objects(ctx, func(o record.Object) error { return each(found{id: o.Session}) }); err != nil {
		return err
	}
	spooled, err := a.archive.Spooled()
	if err != nil {
		return err
	}
	for _, id := range spooled {
		if err := each(found{id: id, live: true}); err != nil {
			return err
		}
	}
	return nil
}

// untilInterrupted returns a context that the first signal ends, so that what
// was read until then is shown. A second signal ends the process: it may wait
// for a pipe.
func untilInterrupted(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
