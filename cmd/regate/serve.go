package main

import (
	"errors"

	"github.com/spf13/cobra"
)

func newServeCmd() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway in the foreground",
		Args:  wantNoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return errors.ErrUnsupported
		},
	}
	addConfigFlags(cmd, &file)
	return cmd
}
