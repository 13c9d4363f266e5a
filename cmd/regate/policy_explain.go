package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/policy/corpus"
	"github.com/regate-dev/regate/engine/policy/explain"
)

// maxInputFile bounds a document from somebody's hands, in bytes.
const maxInputFile = 64 << 20

func newPolicyExplainCmd() *cobra.Command {
	var where archiveFlags
	var admin adminFlags
	var session, file, stage, format string
	var turn uint64
	var bundles []string
	var o explain.Options
	cmd := &cobra.Command{
		Use:   "explain [DECISION]",
		Short: "Say why something was allowed, held or denied, and what would have changed it",
		Long: `Evaluates a recorded input again and says which rules fired, which came closest
to it and why they did not, and which single value of the input would have
changed the outcome. Such a change is told only after it was evaluated.

DECISION is the id that a refusal, the log and 'regate sessions show' have, or
--session and --turn; --input explains a document of your own. The policies are
those of --bundle, or else of the configuration. A warning says where they are
not those that decided.

With --url (or REGATE_URL) a gateway explains the decision by the policies that
are in force there; it takes the role auditor or operator.

What is shown of values is in the recording or in the policies.
` + adminHelp,
		Example: `  regate policy explain 01M83XH8G6DWZS5ENNYZA271YM-2
  regate policy explain 01M83XH8G6DWZS5ENNYZA271YM-2 --bundle policies/lib --bundle my-policy
  regate policy explain --session 01M83XH8G6DWZS5ENNYZA271YM --turn 2 --output json
  regate input postgres 'DELETE FROM users' | regate policy explain --input - --bundle my-policy
  regate policy explain 01M83XH8G6DWZS5ENNYZA271YM-2 --url https://regate.example.com:8411`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return &usageError{fmt.Errorf("one decision at a time, not %d", len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if format != "text" && format != "json" {
				return &usageError{fmt.Errorf("unknown output %q: text or json", format)}
			}
			id := ""
			switch {
			case len(args) == 1 && session == "" && file == "":
				id = args[0]
			case len(args) == 0 && session != "" && file == "" && cmd.Flags().Changed("turn"):
				id = session + "-" + strconv.FormatUint(turn, 10)
			case len(args) == 0 && session == "" && file != "":
			default:
				return &usageError{errors.New("what is to be explained? one of: a decision's id, --session with --turn, --input")}
			}
			gateway := admin.given(adminURL, "REGATE_URL")
			if cmd.Flags().Changed(adminURL) && (len(bundles) > 0 || file != "") {
				return &usageError{errors.New("--url asks a gateway, which explains its own recordings by its own policies: leave out --bundle and --input")}
			}
			var found *explain.Explanation
			var err error
			if gateway != "" && file == "" && len(bundles) == 0 && where.archive == "" {
				found, err = explainThere(cmd, &admin, id, stage)
			} else {
				found, err = explainHere(cmd, &where, o, bundles, id, stage, file)
			}
			if err != nil {
				return err
			}
			if format == "json" {
				return printJSON(cmd.OutOrStdout(), found)
			}
			return printExplanation(cmd.OutOrStdout(), found)
		},
	}
	where.add(cmd)
	admin.add(cmd)
	f := cmd.Flags()
	f.StringVar(&session, "session", "", "the decision's session")
	f.Uint64Var(&turn, "turn", 0, "the number of its request, with --session")
	f.StringVar(&stage, "stage", "", "session, request or response (default: the one that decided the outcome)")
	f.StringVar(&file, "input", "", "explain the document in this file instead; - is standard input")
	f.StringArrayVar(&bundles, "bundle", nil, "folder or tarball with policies; may be repeated (default: the configured ones)")
	f.IntVar(&o.MaxNear, "near", 5, "show so many rules that nearly fired")
	f.IntVar(&o.MaxTries, "tries", 3000, "evaluate at most so many changes")
	f.StringVar(&format, "output", "text", "text or json")
	return cmd
}

// explainThere asks a gateway.
func explainThere(cmd *cobra.Command, admin *adminFlags, id, stage string) (*explain.Explanation, error) {
	client, err := admin.client(cmd)
	if err != nil {
		return nil, err
	}
	query := url.Values{}
	if stage != "" {
		query.Set("stage", stage)
	}
	found := &explain.Explanation{}
	if err := client.call(cmd.Context(), http.MethodGet, "api/v1/decisions/"+url.PathEscape(id)+"/explain", query, nil, found); err != nil {
		return nil, fmt.Errorf("explain %s: %w", plainText(id), err)
	}
	return found, nil
}

// explainHere loads policies and recording on this machine.
func explainHere(cmd *cobra.Command, where *archiveFlags, o explain.Options, bundles []string, id, stage, file string) (*explain.Explanation, error) {
	ctx := cmd.Context()
	o.Data = true // the policies are this person's own
	var err error
	if file != "" {
		if o.Input, err = readInput(cmd.InOrStdin(), file); err != nil {
			return nil, err
		}
	} else {
		found := recordedFlags{where: *where}
		r, err := findDecision(ctx, &found, id, stage)
		if err != nil {
			return nil, err
		}
		o.Input, o.Recorded = r.Input, asRecorded(r)
	}
	settings, err := policySettings(where.config)
	if err != nil {
		return nil, err
	}
	if len(bundles) > 0 {
		o.Set, err = loadPolicies(ctx, settings, bundles)
	} else if o.Set, err = loadConfigured(ctx, settings); err == nil && o.Set == nil {
		return nil, &usageError{errors.New("no policies: name them with --bundle, or a configuration with -c")}
	}
	if errors.Is(err, errRemoteBundle) {
		return nil, fmt.Errorf("%w: download it and name it with --bundle, or ask the gateway with --url", err)
	}
	if err != nil {
		return nil, err
	}
	return explain.Explain(ctx, o)
}

func readInput(stdin io.Reader, file string) ([]byte, error) {
	in := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxInputFile+1))
	if err == nil && len(raw) > maxInputFile {
		err = fmt.Errorf("the input is longer than %s", byteSize(maxInputFile))
	}
	return raw, err
}

// parseDecisionID takes an id apart: the session's and the number of its request.
func parseDecisionID(id string) (session ulid.ULID, turn uint64, err error) {
	head, tail, ok := strings.Cut(strings.ToUpper(id), "-")
	if session, err = ulid.ParseStrict(head); err != nil || !ok {
		return session, 0, &usageError{fmt.Errorf("%q is not a decision's id, such as 01M83XH8G6DWZS5ENNYZA271YM-2", id)}
	}
	number, _, _ := strings.Cut(tail, "-")
	if turn, err = strconv.ParseUint(number, 10, 64); err != nil {
		return session, 0, &usageError{fmt.Errorf("%q is not a decision's id: %q is no number of a request", id, number)}
	}
	return session, turn, nil
}

// errNoDecision says that a recording holds no such decision.
var errNoDecision = errors.New("no such decision")

// findDecision looks a decision up in the recordings that the flags name.
func findDecision(ctx context.Context, f *recordedFlags, id, stage string) (*corpus.Recorded, error) {
	session, turn, err := parseDecisionID(id)
	if err != nil {
		return nil, err
	}
	f.sessions = []string{session.String()}
	source, done, err := f.source(ctx, nil)
	if err != nil {
		return nil, err
	}
	r, err := lastDecision(source, turn, stage)
	if err = errors.Join(err, done()); err != nil {
		return nil, fmt.Errorf("decision %s: %w", plainText(id), err)
	}
	return r, nil
}

// lastDecision is the one that decided the outcome of a request: the last that
// denied or held it, or else the last at stage request, as after an approval.
// stage narrows the choice.
func lastDecision(source corpus.Source, turn uint64, stage string) (*corpus.Recorded, error) {
	var best *corpus.Recorded
	var problems []error
	for r, err := range source {
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if r.Turn != turn || stage != "" && r.Stage != stage || len(r.Input) == 0 {
			continue
		}
		if best == nil || stage != "" || r.Stage != "response" || r.Effect == policy.Deny.String() {
			best = &r
		}
	}
	if best == nil {
		return nil, errors.Join(append(problems, errNoDecision)...)
	}
	return best, nil
}

func asRecorded(r *corpus.Recorded) *explain.Recorded {
	out := &explain.Recorded{
		DecisionID: r.DecisionID, SessionID: r.SessionID, Turn: r.Turn, Time: r.Time, Effect: r.Effect, Bundles: r.Bundles, Reasons: []string{},
	}
	var ruling struct {
		Reasons []struct {
			ID string `json:"id"`
		} `json:"reasons"`
	}
	if json.Unmarshal(r.Ruling, &ruling) == nil { // the effect is recorded on its own
		for _, reason := range ruling.Reasons {
			out.Reasons = append(out.Reasons, reason.ID)
		}
	}
	return out
}
