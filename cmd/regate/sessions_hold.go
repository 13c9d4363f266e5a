package main

import (
	"errors"
	"fmt"
	"maps"
	"os/user"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"gocloud.dev/blob"

	"github.com/regate-dev/regate/engine/record"
)

func newSessionsHoldCmd() *cobra.Command {
	var where archiveFlags
	h := record.LegalHold{By: osUser()}
	cmd := &cobra.Command{
		Use:   "hold SESSION...",
		Short: "Keep recordings from being deleted by retention",
		Long: `Place a legal hold on sessions: their recordings are kept, whatever
record.retention says, until regate sessions release. The hold is a file in the
archive (holds/), for every recorder that deletes there.`,
		Example: `  regate sessions hold 01JQ3Z5V8W7T6S5R4Q3P2N1M0K --reason 'case 4711'`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if h.Reason == "" {
				return &usageError{errors.New("--reason is needed")}
			}
			h.At = time.Now().UTC()
			return onArchive(cmd, &where, func(b *blob.Bucket) error {
				for _, h.Session = range args {
					if err := record.PlaceHold(cmd.Context(), b, h); err != nil {
						return err
					}
					fmt.Fprintf(cmd.OutOrStdout(), "%s is held\n", h.Session)
				}
				return nil
			})
		},
	}
	where.add(cmd)
	cmd.Flags().StringVar(&h.Reason, "reason", "", "why: a case, a request")
	cmd.Flags().StringVar(&h.By, "by", h.By, "who")
	return cmd
}

func newSessionsReleaseCmd() *cobra.Command {
	var where archiveFlags
	cmd := &cobra.Command{
		Use:     "release SESSION...",
		Short:   "End legal holds",
		Example: `  regate sessions release 01JQ3Z5V8W7T6S5R4Q3P2N1M0K`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return onArchive(cmd, &where, func(b *blob.Bucket) error {
				for _, id := range args {
					if err := record.LiftHold(cmd.Context(), b, id); err != nil {
						return err
					}
					fmt.Fprintf(cmd.OutOrStdout(), "%s is not held any more\n", id)
				}
				return nil
			})
		},
	}
	where.add(cmd)
	return cmd
}

func newSessionsHoldsCmd() *cobra.Command {
	var where archiveFlags
	var output string
	cmd := &cobra.Command{
		Use:     "holds",
		Short:   "List legal holds",
		Example: `  regate sessions holds -o json`,
		Args:    wantNoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return &usageError{fmt.Errorf("unknown output %q: table or json", output)}
			}
			return onArchive(cmd, &where, func(b *blob.Bucket) error {
				held, err := record.LegalHolds(cmd.Context(), b)
				if err != nil {
					return err
				}
				holds := slices.SortedFunc(maps.Values(held), func(x, y record.LegalHold) int { return x.At.Compare(y.At) })
				if output == "json" {
					return printJSON(cmd.OutOrStdout(), holds)
				}
				tw := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
				fmt.Fprintln(tw, "SESSION\tSINCE\tBY\tREASON")
				for _, h := range holds {
					fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", plainText(h.Session), h.At.Local().Format(time.DateTime), plainText(h.By), plainText(h.Reason))
				}
				return tw.Flush()
			})
		},
	}
	where.add(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

// onArchive opens the archive that flags or configuration name for do.
func onArchive(cmd *cobra.Command, where *archiveFlags, do func(*blob.Bucket) error) error {
	where.fill()
	bucket, err := openBucket(cmd.Context(), where.archive)
	if err != nil {
		return err
	}
	defer bucket.Close()
	return do(bucket)
}

// osUser is who runs this, as the system says.
func osUser() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username
}
