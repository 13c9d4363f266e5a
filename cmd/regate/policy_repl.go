package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/repl"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/util"
	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/engine/policy"
)

func newPolicyREPLCmd() *cobra.Command {
	c := &policyREPL{}
	cmd := &cobra.Command{
		Use:   "repl [PATH...]",
		Short: "Ask policies questions about one input document",
		Long: `Read Rego and evaluate it, with policies loaded and an input document at hand:
one from a file, as 'regate input' prints it, or the recorded one of a decision.
It is OPA's own repl, with the built-in functions that a gateway allows; 'help'
says what it can do. What is piped into it is evaluated line by line.

PATH are bundles, as for 'opa -b', folders or files. Without one, the bundles of
the configuration are taken.`,
		Example: `  regate policy repl policies --input sql/input.json
  regate policy repl policies --decision 01JQ3Z5V8W7T6S5R4Q3P2N1M0K-2
  regate policy repl policies --session 01JQ3Z5V8W7T6S5R4Q3P2N1M0K --turn 2
  echo 'data.regate.policies.acme.sql.deny' | regate policy repl policies --input input.json`,
		Args: cobra.ArbitraryArgs,
		RunE: c.run,
	}
	c.where.add(cmd)
	f := cmd.Flags()
	f.StringVar(&c.input, "input", "", "JSON file with an input document")
	f.StringVar(&c.decision, "decision", "", "the recorded input of the decision with this id")
	f.StringVar(&c.session, "session", "", "with --turn: the recorded input of a request of this session")
	f.Uint64Var(&c.turn, "turn", 0, "the number of the request")
	f.StringVarP(&c.output, "output", "o", "pretty", "pretty or json")
	return cmd
}

// policyREPL is one call of the command.
type policyREPL struct {
	where                            archiveFlags
	input, decision, session, output string
	turn                             uint64
}

// maxInput bounds an input document in a file, in bytes.
const maxInput = 64 << 20

func (c *policyREPL) run(cmd *cobra.Command, paths []string) error {
	ctx := cmd.Context()
	if err := c.check(cmd); err != nil {
		return err
	}
	set, err := c.policies(ctx, paths)
	if err != nil {
		return err
	}
	doc, err := c.document(ctx)
	if err != nil {
		return err
	}
	store, err := replStore(ctx, set, doc)
	if err != nil {
		return err
	}
	raw, err := policy.CapabilitiesJSON()
	if err != nil {
		return err
	}
	capabilities, err := ast.LoadCapabilitiesJSON(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	out, in := cmd.OutOrStdout(), cmd.InOrStdin()
	banner, history := "", ""
	if f, ok := in.(*os.File); ok && onTerminal(f) {
		banner = c.banner(set, doc)
		if dir, err := os.UserCacheDir(); err == nil && os.MkdirAll(filepath.Join(dir, "regate"), 0o700) == nil {
			history = filepath.Join(dir, "regate", "repl_history")
		}
	}
	if onTerminal(out) {
		out = harmlessWriter{out}
	}
	return repl.New(store, history, out, c.output, 0, banner).
		WithConsoleInput(in).WithStderrWriter(cmd.ErrOrStderr()).WithCapabilities(capabilities).Loop(ctx)
}

func (c *policyREPL) check(cmd *cobra.Command) error {
	if c.output != "pretty" && c.output != "json" {
		return &usageError{fmt.Errorf("unknown output %q: pretty or json", c.output)}
	}
	given := 0
	for _, s := range []string{c.input, c.decision, c.session} {
		if s != "" {
			given++
		}
	}
	switch {
	case given > 1:
		return &usageError{errors.New("one of --input, --decision and --session says which document is meant")}
	case (c.session != "") != cmd.Flags().Changed("turn"):
		return &usageError{errors.New("--session and --turn go together")}
	case c.input == "-":
		return &usageError{errors.New("--input is a file: standard input is for what is asked")}
	}
	return nil
}

// policies loads what is named, or what is configured. No policies at all are
// fine: then there is the input to ask about.
func (c *policyREPL) policies(ctx context.Context, paths []string) (*policy.Set, error) {
	settings, err := policySettings(c.where.config)
	if err != nil {
		return nil, err
	}
	if len(paths) > 0 {
		return loadPolicies(ctx, settings, paths)
	}
	return loadConfigured(ctx, settings)
}

// document is the input, nil where none is asked for.
func (c *policyREPL) document(ctx context.Context) ([]byte, error) {
	session, turn, response := c.session, c.turn, false
	switch {
	case c.input != "":
		raw, err := readBounded(c.input, nil, maxInput)
		if err != nil {
			return nil, fmt.Errorf("read the input: %w", err)
		}
		return raw, nil
	case c.decision != "":
		var ok bool
		if session, turn, response, ok = decisionID(c.decision); !ok {
			return nil, &usageError{fmt.Errorf("%q is not a decision id, which is a session's id, a dash and a number", c.decision)}
		}
	case c.session == "":
		return nil, nil
	}
	found, err := openSession(ctx, &c.where, session)
	if err != nil {
		return nil, err
	}
	defer found.close()
	docs, err := found.inputs(ctx, turn)
	if err != nil {
		return nil, err
	}
	if !response {
		return docs[0].json, nil
	}
	if len(docs) < 2 {
		return nil, fmt.Errorf("no decision %s: request %d has none on its result", c.decision, turn)
	}
	return docs[len(docs)-1].json, nil
}

// decisionID takes a decision's id apart: the session, the request's number,
// and whether it is about the result.
func decisionID(id string) (session string, turn uint64, response, ok bool) {
	session, number, found := strings.Cut(id, "-")
	number, response = strings.CutSuffix(number, "r")
	turn, err := strconv.ParseUint(number, 10, 64)
	return session, turn, response, found && err == nil
}

// replStore holds the policies' text and data, and the input where OPA's repl
// looks for it.
func replStore(ctx context.Context, set *policy.Set, doc []byte) (storage.Store, error) {
	data := map[string]any{}
	var modules map[string][]byte
	if set != nil {
		modules = set.Sources()
		all, err := storage.ReadOne(ctx, set.Store(), storage.RootPath)
		if err != nil {
			return nil, fmt.Errorf("read the policies' data: %w", err)
		}
		if value, ok := all.(ast.Value); ok {
			if all, err = ast.JSON(value); err != nil {
				return nil, fmt.Errorf("read the policies' data: %w", err)
			}
		}
		top, ok := all.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("read the policies' data: %T is no object", all)
		}
		maps.Copy(data, top)
	}
	if doc != nil {
		var input map[string]any
		if err := util.UnmarshalJSON(doc, &input); err != nil || input == nil {
			return nil, errors.New("the input is not one JSON object")
		}
		data["repl"] = map[string]any{"input": input}
	}
	store := inmem.NewFromObject(data)
	err := storage.Txn(ctx, store, storage.WriteParams, func(txn storage.Transaction) error {
		for id, text := range modules {
			if err := store.UpsertPolicy(ctx, txn, id, text); err != nil {
				return err
			}
		}
		return nil
	})
	return store, err
}

// banner says what there is to ask about.
func (c *policyREPL) banner(set *policy.Set, doc []byte) string {
	var b strings.Builder
	if set != nil {
		for _, p := range set.Packages() {
			fmt.Fprintf(&b, "%s\n", plainText(p.Path))
		}
	}
	if doc != nil {
		fmt.Fprintf(&b, "input: %s\n", plainText(documentName(doc)))
	}
	b.WriteString("help says what can be asked, exit leaves.")
	return b.String()
}

// harmlessWriter escapes what a terminal may obey.
type harmlessWriter struct{ w io.Writer }

func (h harmlessWriter) Write(p []byte) (int, error) {
	if _, err := h.w.Write(harmlessJSON(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}
