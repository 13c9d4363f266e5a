package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/engine/identity"
)

const revocationsPath = "api/v1/revocations"

// revocation is one as the admin API shows it.
type revocation struct {
	Key string `json:"key"`
	identity.Revocation
}

func newRevokeCmd() *cobra.Command {
	admin := &adminFlags{}
	var issuer, reason, output, remove string
	var period time.Duration
	var list bool
	kinds := []string{identity.RevokeToken, identity.RevokeSubject, identity.RevokeClient, identity.RevokeTarget}
	cmd := &cobra.Command{
		Use:   "revoke token|subject|client|target VALUE",
		Short: "Cut a token, a person, a client or a target off",
		Long: `Revokes, on every gateway and within a second, also for connections that are
open:

  token    one token, by its id (claim jti)
  subject  whoever has this sub, for tokens issued until now
  client   whoever uses this client, for tokens issued until now
  target   everybody, at one target

A new token of a revoked subject or client works again: take away what lets
them get one first. --for lets the revocation end by itself.
` + adminHelp,
		Example: `  regate revoke token 9f1c2d3e --reason "printed in a log"
  regate revoke subject alice --profile me-at-example --for 24h
  regate revoke target orders --reason incident-12
  regate revoke --list
  regate revoke --remove target.3f2a9c`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case list && remove != "":
				return &usageError{errors.New("--list and --remove do not go together")}
			case list || remove != "":
				if len(args) > 0 {
					return &usageError{errors.New("--list and --remove take no kind and value")}
				}
				return nil
			case len(args) != 2 || args[1] == "":
				return &usageError{errors.New("give a kind (" + strings.Join(kinds, ", ") + ") and a value")}
			case !slices.Contains(kinds, args[0]):
				return &usageError{fmt.Errorf("unknown kind %q: %s", args[0], strings.Join(kinds, ", "))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := tableOrJSON(output); err != nil {
				return err
			}
			if period < 0 {
				return &usageError{errors.New("--for is negative")}
			}
			client, err := admin.client(cmd)
			if err != nil {
				return err
			}
			switch {
			case list:
				return listRevocations(cmd, client, output)
			case remove != "":
				if err := client.call(cmd.Context(), http.MethodDelete, revocationsPath+"/"+url.PathEscape(remove), nil, nil, nil); err != nil {
					return fmt.Errorf("remove revocation: %w", err)
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s removed\n", plainText(remove))
				return err
			}
			in := map[string]any{"kind": args[0], "value": args[1], "issuer": issuer, "reason": reason}
			if period > 0 {
				in["expires_at"] = time.Now().Add(period).UTC()
			}
			var made revocation
			if err := client.call(cmd.Context(), http.MethodPost, revocationsPath, nil, in, &made); err != nil {
				return fmt.Errorf("revoke: %w", err)
			}
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), made)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %s is revoked%s\nundo with: regate revoke --remove %s\n",
				made.Kind, plainText(made.Value), untilRevoked(made), made.Key)
			return err
		},
	}
	admin.add(cmd)
	f := cmd.Flags()
	f.StringVar(&issuer, "of-issuer", "", "only tokens and people of this issuer (default: of any)")
	f.StringVar(&reason, "reason", "", "why, for the recording")
	f.DurationVar(&period, "for", 0, "end the revocation after this time (default: never)")
	f.BoolVar(&list, "list", false, "list what is revoked, newest first")
	f.StringVar(&remove, "remove", "", "lift the revocation with this key")
	f.StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func listRevocations(cmd *cobra.Command, client *adminClient, output string) error {
	var answer struct {
		Revocations []revocation `json:"revocations"`
	}
	if err := client.call(cmd.Context(), http.MethodGet, revocationsPath, nil, nil, &answer); err != nil {
		return fmt.Errorf("list revocations: %w", err)
	}
	if output == "json" {
		return printJSON(cmd.OutOrStdout(), answer.Revocations)
	}
	return printRevocations(cmd.OutOrStdout(), answer.Revocations)
}

func printRevocations(w io.Writer, list []revocation) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "nothing is revoked")
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "KEY\tKIND\tVALUE\tISSUER\tSINCE\tUNTIL\tBY\tREASON")
	for _, r := range list {
		until := "-"
		if !r.ExpiresAt.IsZero() {
			until = timeText(r.ExpiresAt)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Key, r.Kind, plainText(r.Value), plainText(dash(r.Issuer)),
			timeText(r.At), until, plainText(dash(r.By)), plainText(r.Reason))
	}
	return tw.Flush()
}

func untilRevoked(r revocation) string {
	if r.ExpiresAt.IsZero() {
		return ""
	}
	return " until " + timeText(r.ExpiresAt)
}
