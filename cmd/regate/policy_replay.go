package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/policy/backtest"
)

func newPolicyReplayCmd() *cobra.Command {
	var from recordedFlags
	var bundles, baselines, failOn []string
	var output string
	var examples int
	cmd := &cobra.Command{
		Use:   "replay --bundle PATH [FILE...]",
		Short: "Ask a new bundle about recorded decisions and show what would change",
		Long: `Evaluate recorded inputs with a candidate bundle and show what would have been
decided otherwise: what would newly pass, be denied or wait for a person, which
fields would be shown or hidden, which limits raised or lowered, by rule, agent
and table.

The decisions come from the archive, or from files: what 'regate sessions export'
wrote, or input documents, which need --baseline to say what is decided now.

Each decision is put to the bundle that made it first. It must come out the same;
if not, nothing here can be relied on, and the exit status is 1. That bundle is
--baseline, or the one that the configuration names.

--fail-on takes kinds of change, or looser, tighter, any:
  looser   newly-allowed, newly-approvable, approval-dropped, newly-unmasked,
           weaker-mask, limit-raised, record-lowered, label-dropped
  tighter  newly-denied, newly-held, newly-masked, stronger-mask, limit-lowered,
           record-raised, newly-labelled
  neither  approval-changed, candidate-error

The exit status is 0 where nothing of --fail-on was found, and 1 where it was, or
where a recording is damaged, the check fails or the run was interrupted.`,
		Example: `  regate policy replay --bundle new/ --since 30d
  regate policy replay --bundle new/ --baseline old/ --fail-on newly-allowed,newly-unmasked
  regate policy replay --bundle new/ --since 7d --agent report-bot -o json
  regate policy replay --bundle new/ --baseline main/ recorded.ndjson -o markdown > comment.md`,
		RunE: func(cmd *cobra.Command, args []string) error {
			show, ok := replayPrinters[output]
			if !ok {
				return &usageError{fmt.Errorf("unknown output %q: text, json or markdown", output)}
			}
			if len(bundles) == 0 {
				return &usageError{errors.New("--bundle is needed: the candidate's folder or .tar.gz")}
			}
			kinds, err := backtest.ParseKinds(failOn)
			if err != nil {
				return &usageError{fmt.Errorf("--fail-on: %w", err)}
			}
			ctx, stop := untilInterrupted(cmd.Context())
			defer stop()
			settings, err := policySettings(from.where.config)
			if err != nil {
				return err
			}
			candidate, err := loadPolicies(ctx, settings, bundles)
			if err != nil {
				return fmt.Errorf("candidate: %w", err)
			}
			baseline, note, err := replayBaseline(ctx, settings, baselines)
			if err != nil {
				return err
			}
			source, closer, err := from.source(ctx, args)
			if err != nil {
				return err
			}
			defer closer()
			counter := &backtest.Counter{}
			done := showProgress(cmd.ErrOrStderr(), &from.progress, counter)
			report, err := backtest.Replay(ctx, source, candidate, baseline, backtest.Options{
				Examples: examples, Statement: statementWords, Counter: counter,
			})
			done()
			if err != nil {
				return err
			}
			result := replayed{Report: report, Note: note, Given: len(baselines) > 0, failOn: kinds}
			if err := show(cmd.OutOrStdout(), result); err != nil {
				return err
			}
			return result.verdict()
		},
	}
	from.add(cmd)
	f := cmd.Flags()
	f.StringSliceVarP(&bundles, "bundle", "b", nil, "the candidate: a folder or .tar.gz; may be given again")
	f.StringSliceVar(&baselines, "baseline", nil, "the bundle that decided (default: what the configuration names); may be given again")
	f.StringSliceVar(&failOn, "fail-on", nil, "exit status 1 where there is such a change; see above")
	f.IntVar(&examples, "examples", 3, "decisions to show for each kind of change")
	f.StringVarP(&output, "output", "o", "text", "text, json or markdown")
	return cmd
}

// replayBaseline loads what decided. note says why it is not at hand.
func replayBaseline(ctx context.Context, settings policy.Config, paths []string) (set *policy.Set, note string, err error) {
	if len(paths) > 0 {
		if set, err = loadPolicies(ctx, settings, paths); err != nil {
			return nil, "", fmt.Errorf("baseline: %w", err)
		}
		return set, "", nil
	}
	switch set, err = loadConfigured(ctx, settings); {
	case errors.Is(err, errRemoteBundle):
		return nil, err.Error(), nil
	case err != nil:
		return nil, "the configured bundles do not load: " + strings.TrimSpace(err.Error()), nil
	case set == nil:
		return nil, "no configuration names a bundle", nil
	}
	return set, "", nil
}

// replayed is a replay and what was asked of it.
type replayed struct {
	*backtest.Report
	Note  string `json:"baseline_note,omitempty"` // why there is no baseline
	Given bool   `json:"-"`                       // --baseline was given

	failOn []backtest.Kind
}

// failures are the changes that --fail-on asks for.
func (r *replayed) failures() []string {
	var out []string
	for _, k := range r.failOn {
		if c := r.Of(k); c.Count > 0 {
			out = append(out, fmt.Sprintf("%s: %d", k, c.Count))
		}
	}
	return out
}

// verdict is the command's end.
func (r *replayed) verdict() error {
	switch {
	case r.Interrupted:
		return errors.New("interrupted: the report is of what was read until then")
	case r.Baseline.Differs > 0:
		return fmt.Errorf("%s not reproduced by the bundle that made them", wereNot(r.Baseline.Differs, "decision"))
	case r.Unread.Problems > 0:
		return fmt.Errorf("not everything could be read: %s; see regate verify", counted(r.Unread.Problems, "problem"))
	case r.Decisions == 0:
		return errors.New("no decision was found: see --since, --archive and -c")
	case r.Compared == 0:
		return errors.New("nothing could be compared")
	}
	if bad := r.failures(); len(bad) > 0 {
		return errors.New(strings.Join(bad, ", "))
	}
	return nil
}

func wereNot(n int64, what string) string {
	if n == 1 {
		return "1 " + what + " was"
	}
	return fmt.Sprintf("%d %ss were", n, what)
}
