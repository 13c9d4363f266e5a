package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/engine/policy/pack"
)

// sourceDateEpoch is where reproducible builds say when the source was changed:
// https://reproducible-builds.org/specs/source-date-epoch/
const sourceDateEpoch = "SOURCE_DATE_EPOCH"

func newPolicyBuildCmd() *cobra.Command {
	var o pack.Options
	var output, format, keyFile, keyID, alg, scope string
	var sequence int64
	cmd := &cobra.Command{
		Use:   "build DIR...",
		Short: "Make a reproducible, signed bundle that a gateway takes",
		Long: `Packs folders as one OPA bundle, after every check that a gateway makes before
it puts a bundle in force; what would be refused is not built. The same input
gives the same bytes on any machine, signature included. Stock opa reads,
verifies and runs the result.

Several folders become one bundle; each has a .manifest, and their roots do not
overlap. --with names what the policies need and another bundle brings.

--sequence is this revision's place in the order of revisions: a gateway that
had a newer one in force refuses it. Without the flag it is SOURCE_DATE_EPOCH
or what the .manifest says; without all three the bundle is not ordered.

--sign-key is a PEM file with an RSA or elliptic curve key, or env:NAME. PS256
and its like are not offered: their signatures are random.

The exit status is 1 if the bundle would be refused.`,
		Example: `  regate policy build my-policy --with policies/lib -o bundle.tar.gz
  regate policy build policies/lib my-policy --revision v12 --sequence 12 \
    --sign-key release.pem --key-id release -o bundle.tar.gz
  SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) regate policy build my-policy \
    --revision $(git rev-parse --short HEAD) -o bundle.tar.gz --output json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{errors.New("which folder? regate policy build DIR -o bundle.tar.gz")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if format != "text" && format != "json" {
				return &usageError{fmt.Errorf("unknown output %q: text or json", format)}
			}
			o.Paths = args
			var err error
			if o.Sequence, err = buildSequence(cmd.Flags().Changed("sequence"), sequence); err != nil {
				return &usageError{err}
			}
			if keyFile == "" && (keyID != "" || alg != "" || scope != "") {
				return &usageError{errors.New("--key-id, --alg and --scope mean nothing without --sign-key")}
			}
			if keyFile != "" {
				raw, err := keyText(keyFile)
				if err != nil {
					return fmt.Errorf("--sign-key: %w", err)
				}
				if o.Key, err = pack.ParseKey(raw, keyID, alg, scope); err != nil {
					return fmt.Errorf("--sign-key: %w", err)
				}
			}
			built, err := pack.Build(cmd.Context(), o)
			if err != nil {
				for line := range strings.Lines(err.Error()) {
					fmt.Fprintln(cmd.ErrOrStderr(), "error: "+plainText(strings.TrimSpace(line)))
				}
				return errReported
			}
			if err := writeOut(cmd.OutOrStdout(), output, built.Archive); err != nil {
				return err
			}
			for _, w := range built.Warnings {
				fmt.Fprintln(cmd.ErrOrStderr(), "warning: "+w)
			}
			if output == "-" {
				return nil
			}
			if format == "json" {
				return printJSON(cmd.OutOrStdout(), built)
			}
			return printBuilt(cmd.OutOrStdout(), output, built)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&output, "out", "o", "bundle.tar.gz", "file to write; - is standard output")
	f.StringArrayVar(&o.With, "with", nil, "folder or tarball that the policies need and that is not packed; may be repeated")
	f.StringVar(&o.Revision, "revision", "", "revision, as decisions show it (default: the .manifest's)")
	f.Int64Var(&sequence, "sequence", 0, "place in the order of revisions, a whole number that grows (default: $"+sourceDateEpoch+", or the .manifest's)")
	f.BoolVar(&o.Tests, "tests", false, "pack the tests too, for 'opa test -b'; a gateway leaves them out")
	f.StringVar(&keyFile, "sign-key", "", "private key to sign with: a PEM file, or env:NAME")
	f.StringVar(&keyID, "key-id", "", "the key's id, as in the gateway's policy.bundles[].signing.key_id")
	f.StringVar(&alg, "alg", "", strings.Join(pack.Algorithms(), ", ")+" (default: RS256, or the one of the curve)")
	f.StringVar(&scope, "scope", "", "scope that the signature claims")
	f.StringVar(&format, "output", "text", "text or json")
	return cmd
}

// buildSequence is the flag's number, or else that of SOURCE_DATE_EPOCH. nil:
// neither is given.
func buildSequence(given bool, n int64) (*int64, error) {
	if given {
		if n < 0 {
			return nil, fmt.Errorf("--sequence %d is negative", n)
		}
		return &n, nil
	}
	raw := os.Getenv(sourceDateEpoch)
	if raw == "" {
		return nil, nil
	}
	n, err := strconv.ParseInt(raw, 10, 64)
	if err != nil || n < 0 {
		return nil, fmt.Errorf("%s=%q is not a number of seconds", sourceDateEpoch, raw)
	}
	return &n, nil
}

// keyText reads env:NAME, file:/path or a path.
func keyText(ref string) ([]byte, error) {
	value, literal, err := secretRef(ref)
	if literal {
		return os.ReadFile(ref)
	}
	return []byte(value), err
}

// writeOut writes a file as a whole, or to w where it is called "-".
func writeOut(w io.Writer, name string, body []byte) (err error) {
	if name == "-" {
		_, err := w.Write(body)
		return err
	}
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() { // /dev/null is written to, never replaced
		return os.WriteFile(name, body, 0)
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(body)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

func printBuilt(w io.Writer, name string, b *pack.Built) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	line := func(what, value string) { fmt.Fprintf(tw, "%s\t%s\n", what, plainText(value)) }
	fmt.Fprintf(tw, "%s\t%s\n", plainText(name), byteSize(int64(b.Bytes)))
	line("revision", cmp.Or(b.Revision, "-"))
	if b.Sequence != nil {
		line("sequence", strconv.FormatInt(*b.Sequence, 10))
	}
	line("roots", strings.Join(b.Roots, ", "))
	line("policies", counted(int64(len(b.Modules)), "module"))
	line("signed", cmp.Or(labelled("with key", b.KeyID), "no"))
	line("digest", b.Digest)
	line("sha256", b.SHA256)
	return tw.Flush()
}
