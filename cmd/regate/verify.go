package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf16"

	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/engine/record"
)

func newVerifyCmd() *cobra.Command {
	var where archiveFlags
	var output string
	var all, allowMissing bool
	cmd := &cobra.Command{
		Use:   "verify [SESSION...]",
		Short: "Check that recordings are whole and unchanged",
		Long: `Check every recording: that no event was changed, removed, added or moved,
and that the closing receipts are signed by the gateway's key. An auditor needs
the archive and the public key alone.

With --journal, a stopped gateway's state folder is checked too: what its
recorder had not archived yet, and what was still in the journal.

A gateway numbers its sessions in each run. A number that nothing has is a lost
recording where the run has ended; while it lives, or without its journal and
spool, the recording may still be on its way, and verify only says that it is
not accounted for. Give --allow-missing after old recordings were removed on
purpose.

The exit status is 1 if anything is wrong or not accounted for.`,
		Example: `  regate verify                                     # what regate.yaml names
  regate verify --archive ./archive --public-key receipts.pub
  regate verify --journal /var/lib/regate -o json   # after a crash
  regate verify --allow-missing                     # old days were removed
  regate verify 01JQ3Z5V8W7T6S5R4Q3P2N1M0K`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "text" && output != "json" {
				return &usageError{fmt.Errorf("unknown output %q: text or json", output)}
			}
			report, err := verify(cmd.Context(), &where, args, allowMissing)
			if err != nil {
				return err
			}
			if output == "json" {
				err = printJSON(cmd.OutOrStdout(), report)
			} else {
				err = printReport(cmd.OutOrStdout(), report, all || len(args) > 0)
			}
			if err == nil && !report.OK {
				err = errReported
			}
			return err
		},
	}
	where.add(cmd)
	cmd.Flags().StringVar(&where.journal, "journal", "", "state folder of a stopped gateway: check its journal and spool too")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.Flags().BoolVar(&allowMissing, "allow-missing", false, "session numbers that are not accounted for do not count as wrong")
	cmd.Flags().BoolVarP(&all, "all", "a", false, "list every session, not the wrong ones alone")
	return cmd
}

func verify(ctx context.Context, where *archiveFlags, sessions []string, allowMissing bool) (*record.Report, error) {
	if where.journal != "" {
		// A state folder has everything at its usual place.
		fromJournal(where)
	}
	where.fill()
	opts := record.VerifyOptions{Spool: where.spool, Sessions: sessions, AllowMissing: allowMissing}
	var err error
	if opts.Key, err = where.publicKey(); err != nil {
		return nil, err
	}
	if where.archive != "" {
		bucket, err := openBucket(ctx, where.archive)
		if err != nil {
			return nil, err
		}
		defer bucket.Close()
		opts.Bucket = bucket
	}
	if where.journal != "" {
		opts.Log = filepath.Join(where.journal, "journal")
		// Opening would make a new, empty one.
		if _, err := os.Stat(opts.Log); err != nil {
			return nil, fmt.Errorf("journal: %s is no gateway's state folder: %w", where.journal, err)
		}
		release, err := record.HoldLog(opts.Log)
		if errors.Is(err, record.ErrLocked) {
			return nil, fmt.Errorf("%w: stop the gateway first, or leave --journal out", err)
		}
		if err != nil {
			return nil, err
		}
		defer release()
	}
	return record.Verify(ctx, opts)
}

// fromJournal fills in what lies in a state folder, as far as it is there.
func fromJournal(where *archiveFlags) {
	usual := func(flag *string, path ...string) {
		name := filepath.Join(append([]string{where.journal}, path...)...)
		if _, err := os.Stat(name); *flag == "" && !errors.Is(err, fs.ErrNotExist) {
			*flag = name
		}
	}
	usual(&where.archive, "archive")
	usual(&where.spool, "spool")
	usual(&where.key, "keys", "receipts.pem")
}

// printJSON writes v as JSON. Characters that a terminal may obey are escaped,
// which is the same to whoever parses it.
func printJSON(w io.Writer, v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(harmlessJSON(raw), '\n'))
	return err
}

// harmlessJSON escapes what a terminal may obey.
func harmlessJSON(raw []byte) []byte {
	var b bytes.Buffer
	for _, r := range string(raw) {
		switch {
		case r < 0x80 || unicode.IsGraphic(r):
			b.WriteRune(r)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(&b, "\\u%04x\\u%04x", hi, lo)
		default:
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return b.Bytes()
}

func printReport(w io.Writer, r *record.Report, all bool) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	open, signed := 0, 0
	for _, s := range r.Sessions {
		verdict := "ok"
		switch {
		case s.Problems > 0:
			verdict = "WRONG"
		case s.State == "open":
			open++
			verdict = "ok, open"
		case s.Signed:
			signed++
			verdict = "ok, signed"
		}
		if s.Lost > 0 {
			verdict += fmt.Sprintf(", %s declared lost", counted(int64(s.Lost), "event"))
		}
		if all || s.Problems > 0 {
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", s.ID, s.Where, counted(int64(s.Events), "event"), verdict, plainText(s.Reason))
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, p := range r.Problems {
		fmt.Fprintf(w, "problem: %s\n", plainText(p.String()))
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "note: %s\n", plainText(n))
	}
	return printSummary(w, r, signed, open)
}

// printSummary is the last line. It says "everything" only where nothing can
// be missing.
func printSummary(w io.Writer, r *record.Report, signed, open int) error {
	fmt.Fprintf(w, "%s verified (%d signed, %d open), %s", counted(int64(len(r.Sessions)), "session"), signed, open, counted(int64(r.Events), "event"))
	if r.Frames > 0 {
		fmt.Fprintf(w, ", %s", counted(int64(r.Frames), "journal frame"))
	}
	if r.Deleted > 0 {
		fmt.Fprintf(w, ", %s deleted by retention", counted(int64(r.Deleted), "recording"))
	}
	var parts []string
	if len(r.Problems) > 0 {
		parts = append(parts, counted(int64(len(r.Problems)), "problem"))
	}
	var missing uint64
	var where []string
	for _, m := range r.Missing {
		missing += m.Count
		where = append(where, m.String())
	}
	if missing > 0 {
		parts = append(parts, fmt.Sprintf("%s not accounted for: %s", counted(int64(missing), "number"), plainText(strings.Join(where, "; "))))
	}
	if len(parts) == 0 {
		parts = append(parts, "everything is whole and unchanged")
	}
	_, err := fmt.Fprintf(w, "; %s\n", strings.Join(parts, "; "))
	return err
}
