package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/engine/input"
)

func newSchemaCmd() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "schema [PROTOCOL]",
		Short: "Print the JSON Schema of what policies see",
		Long: `Print the JSON Schema of a protocol's input documents, for stock opa's --schema,
for editors, and to read: every field says what it means. "common" is what the
documents of every protocol have. It is made from the types that the gateway
itself uses.

With -o, one file for each protocol, or that of the one named, is written to a
folder. Without a protocol and without -o, the names are listed.`,
		Example: `  regate schema
  regate schema postgres | jq '.properties.action.properties | keys'
  regate schema -o schemas && opa check --schema schemas policy.rego`,
		Args: wantAtMostOne("protocol"),
		RunE: func(cmd *cobra.Command, args []string) error {
			all := schemas()
			if len(args) == 0 && dir == "" {
				for _, s := range all {
					fmt.Fprintln(cmd.OutOrStdout(), s.name)
				}
				return nil
			}
			if len(args) == 1 {
				one, err := schemaOf(args[0], all)
				if err != nil {
					return err
				}
				if dir == "" {
					_, err := cmd.OutOrStdout().Write(one.raw)
					return err
				}
				all = []schema{one}
			}
			return writeSchemas(cmd, dir, all)
		},
	}
	cmd.Flags().StringVarP(&dir, "output", "o", "", "write <protocol>.json to this folder")
	return cmd
}

type schema struct {
	name string
	raw  []byte
}

func schemas() []schema {
	all := []schema{{"common", input.CommonSchema()}}
	for _, p := range input.Protocols() {
		all = append(all, schema{string(p), input.JSONSchema(p)})
	}
	return all
}

func schemaOf(name string, all []schema) (schema, error) {
	var names []string
	for _, s := range all {
		if s.name == name {
			return s, nil
		}
		names = append(names, s.name)
	}
	return schema{}, &usageError{fmt.Errorf("unknown protocol %q: %s", name, strings.Join(names, ", "))}
}

func writeSchemas(cmd *cobra.Command, dir string, all []schema) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write the schemas: %w", err)
	}
	var errs []error
	for _, s := range all {
		name := filepath.Join(dir, s.name+".json")
		err := writeWhole(name, func(f *os.File) error {
			_, err := f.Write(s.raw)
			return err
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("write the schema: %w", err))
			continue
		}
		fmt.Fprintln(cmd.ErrOrStderr(), plainText(name))
	}
	return errors.Join(errs...)
}
