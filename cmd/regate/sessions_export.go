package main

import (
	"bufio"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
)

func newSessionsExportCmd() *cobra.Command {
	var from recordedFlags
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write recorded decisions with their inputs, one a line",
		Long: `Write recorded decisions, each with the exact input document and what was
decided, as JSON, one a line. 'regate policy replay' and 'regate policy test' read
that where there is no archive, as in CI.

The inputs hold what the policies saw: statements as the agents wrote them, the
claims of their tokens, the values bound to parameters. Keep the file as safe as
the archive.`,
		Example: `  regate sessions export --since 7d > recorded.ndjson
  regate sessions export --since 30d --agent report-bot --target shop | zstd > recorded.ndjson.zst`,
		Args: wantNoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := untilInterrupted(cmd.Context())
			defer stop()
			source, closer, err := from.source(ctx, nil)
			if err != nil {
				return err
			}
			defer closer()
			out := bufio.NewWriterSize(cmd.OutOrStdout(), 1<<20)
			enc := json.NewEncoder(out)
			enc.SetEscapeHTML(false)
			problems := int64(0)
			for r, err := range source {
				if ctx.Err() != nil {
					break
				}
				if err != nil {
					problems++
					fmt.Fprintf(cmd.ErrOrStderr(), "regate: %s\n", plainText(err.Error()))
					continue
				}
				if err := enc.Encode(r); err != nil {
					return fmt.Errorf("export: %w", err)
				}
			}
			if err := out.Flush(); err != nil {
				return fmt.Errorf("export: %w", err)
			}
			if ctx.Err() != nil {
				return fmt.Errorf("export: interrupted")
			}
			if problems > 0 {
				return fmt.Errorf("export: %s", counted(problems, "problem"))
			}
			return nil
		},
	}
	from.add(cmd)
	return cmd
}
