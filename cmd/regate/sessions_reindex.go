package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/engine/record"
)

func newSessionsReindexCmd() *cobra.Command {
	var where archiveFlags
	cmd := &cobra.Command{
		Use:   "reindex",
		Short: "Make the index anew from the archive",
		Long: `Add to the index every recording of the archive that it lacks. The index holds
nothing that the archive does not, so one that is lost or damaged can be removed
and made anew. It may run beside a gateway.

A recording that is damaged is indexed as far as it can be read; regate verify
says what is wrong with it. The exit status is then 1.`,
		Example: `  regate sessions reindex
  regate sessions reindex --archive ./archive --index ./index.db`,
		Args: wantNoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			where.fill()
			if where.index == "" {
				return &usageError{errors.New("with --archive, --index is needed too")}
			}
			bucket, err := openBucket(cmd.Context(), where.archive)
			if err != nil {
				return err
			}
			defer bucket.Close()
			index, err := record.OpenIndex(where.index)
			if err != nil {
				return err
			}
			defer index.Close()
			done, err := record.Reindex(cmd.Context(), bucket, index)
			for _, problem := range done.Problems {
				fmt.Fprintf(cmd.ErrOrStderr(), "problem: %s\n", plainText(problem.String()))
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s added, %d were there\n", counted(int64(done.Sessions), "session"), done.Known)
			if err == nil && len(done.Problems) > 0 {
				err = errReported
			}
			return err
		},
	}
	where.add(cmd)
	where.addIndex(cmd)
	return cmd
}
