package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"
	"gocloud.dev/gcerrors"

	"github.com/regate-dev/regate/engine/record"
)

func newSessionsCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sessions",
		Short: "List, show and replay recorded sessions",
		Long: `Recorded sessions are read from the archive and its index, with or without a
running gateway.`,
		Example: `  regate sessions list --subject alice --since 24h
  regate sessions list --effect deny -o json
  regate sessions show 01JQ3Z5V8W7T6S5R4Q3P2N1M0K
  regate sessions replay 01JQ3Z5V8W7T6S5R4Q3P2N1M0K --speed 2`,
		Args: wantNoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSessionsListCmd(), newSessionsShowCmd(), newSessionsReplayCmd(), newSessionsCastCmd(), newSessionsExportCmd(), newSessionsReindexCmd(),
		newSessionsHoldCmd(), newSessionsReleaseCmd(), newSessionsHoldsCmd())
	return cmd
}

func newSessionsListCmd() *cobra.Command {
	var where archiveFlags
	var filter record.SessionFilter
	var since, output string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List sessions, newest first",
		Example: `  regate sessions list --target shop --since 2h
  regate sessions list --effect deny --limit 20
  regate sessions list --effect held --since 7d
  regate sessions list --text 'drop table' -o json`,
		Args: wantNoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return &usageError{fmt.Errorf("unknown output %q: table or json", output)}
			}
			switch filter.Effect {
			case "", "allow", "deny", record.EffectHeld:
			case "require_approval":
				filter.Effect = record.EffectHeld
			default:
				return &usageError{fmt.Errorf("unknown effect %q: allow, deny or held", filter.Effect)}
			}
			var err error
			if filter.Since, err = parseSince(since, time.Now()); err != nil {
				return &usageError{err}
			}
			where.fill()
			if where.index == "" {
				return &usageError{errors.New("with --archive, --index is needed too")}
			}
			index, err := record.ReadIndex(where.index)
			if err != nil {
				return err
			}
			defer index.Close()
			rows, err := index.Sessions(cmd.Context(), filter)
			if err != nil {
				return err
			}
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), rows)
			}
			return printSessions(cmd.OutOrStdout(), rows, filter.Limit)
		},
	}
	where.add(cmd)
	where.addIndex(cmd)
	f := cmd.Flags()
	f.StringVar(&filter.Subject, "subject", "", "whose authority (sub)")
	f.StringVar(&filter.Actor, "actor", "", "who acted for them (act)")
	f.StringVar(&filter.Target, "target", "", "the target's name")
	f.StringVar(&filter.Effect, "effect", "", "with such a decision: allow or deny; or held: with a request that was held for approval")
	f.StringVar(&filter.Table, "table", "", "with a statement on this table, e.g. public.users")
	f.StringVar(&filter.Text, "text", "", "with this in a statement")
	f.StringVar(&filter.Reason, "reason", "", "with this reason id in a decision")
	f.StringVar(&since, "since", "", "started since: 90m, 24h, 7d, or a date or time")
	f.StringVar(&filter.Before, "before", "", "the page that follows this session's id")
	f.IntVar(&filter.Limit, "limit", 50, "at most so many")
	f.StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

// parseSince reads a span before now (90m, 7d) or a point in time.
func parseSince(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 {
			return now.AddDate(0, 0, -n), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is neither a span (90m, 24h, 7d) nor a date (2026-11-23) or time (2026-11-23T15:04:05Z)", s)
}

func printSessions(w io.Writer, rows []record.SessionRow, limit int) error {
	if len(rows) == 0 {
		_, err := fmt.Fprintln(w, "no sessions")
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "SESSION\tSTARTED\tLASTED\tWHO\tTARGET\tREQUESTS\tDENIED\tHELD\tROWS\tSTATE")
	for _, s := range rows {
		lasted := "-"
		if !s.Ended.IsZero() {
			lasted = shortDuration(s.Ended.Sub(s.Started))
		}
		state := s.State
		if s.Reason == record.ReasonGatewayDied {
			state += ", gateway died"
		}
		if s.Lost > 0 {
			state += fmt.Sprintf(", %d lost", s.Lost)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\n", s.ID, s.Started.Local().Format("2006-01-02 15:04:05"),
			lasted, plainText(who(s)), plainText(s.Target), s.Requests, s.Denials, s.Holds, s.Rows, state)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if len(rows) == limit {
		_, err := fmt.Fprintf(w, "more with --before %s\n", rows[len(rows)-1].ID)
		return err
	}
	return nil
}

func who(s record.SessionRow) string {
	if s.Actor == "" || s.Actor == s.Subject {
		return s.Subject
	}
	return s.Actor + " for " + s.Subject
}

// recorded is one session as it was found: in the archive or in the spool.
type recorded struct {
	archive  *record.Archive
	session  ulid.ULID
	key      ed25519.PublicKey // nil: receipts are not checked
	archived bool
	size     int64 // of the archive's object, in bytes
	close    func() error
}

// openSession finds a session where the flags say.
func openSession(ctx context.Context, where *archiveFlags, id string) (*recorded, error) {
	session, err := ulid.ParseStrict(strings.ToUpper(id))
	if err != nil {
		return nil, &usageError{fmt.Errorf("%q is not a session id", id)}
	}
	where.fill()
	r := &recorded{session: session}
	if r.key, err = where.publicKey(); err != nil {
		return nil, err
	}
	bucket, err := openBucket(ctx, where.archive)
	if err != nil {
		return nil, err
	}
	r.archive, r.close = record.OpenArchive(bucket, where.spool), bucket.Close
	switch found, err := bucket.Attributes(ctx, record.ObjectKey(session)); {
	case err == nil:
		r.archived, r.size = true, found.Size
	case gcerrors.Code(err) != gcerrors.NotFound:
		return nil, errors.Join(fmt.Errorf("archive %s: %w", where.archive, err), bucket.Close())
	}
	return r, nil
}

// read calls each for every event. The problems it returns are those of the
// recording.
func (r *recorded) read(ctx context.Context, each func(record.Event) error) ([]record.Problem, error) {
	return r.archive.Read(ctx, r.session, r.key, each)
}

// row is what a transcript knows of the session, with where it was found: the
// same as the index says.
func (r *recorded) row(t *record.Transcript) record.SessionRow {
	row := t.Session
	if r.archived {
		row.State, row.Object, row.Size = record.StateArchived, record.ObjectKey(r.session), r.size
	}
	return row
}
