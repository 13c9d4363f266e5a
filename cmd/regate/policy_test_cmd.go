package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/policy/corpus"
	"github.com/regate-dev/regate/engine/policy/prove"
)

// policyTest is what `regate policy test` was asked.
type policyTest struct {
	from      recordedFlags
	inputs    []string
	run       string
	output    string
	except    []string
	coverage  bool
	verbose   bool
	skipped   bool // skipped tests do no harm
	noFields  bool
	noCompare bool
	shadow    bool
	strict    bool
	threshold float64
	timeout   time.Duration
	limit     int
	paths     []string
}

func newPolicyTestCmd() *cobra.Command {
	var t policyTest
	cmd := &cobra.Command{
		Use:   "test [PATH...]",
		Short: "Run a bundle's Rego tests, then try what no Rego test does",
		Long: `Run the Rego tests with OPA's own tester, with the same results as stock
'opa test', under the gateway's schemas and capabilities. A path is a bundle's
folder or .tar.gz, a folder of bundles, or a Rego or data file; give the library
and the packs that are in force together.

Then two tests with every input that the tests use, completed to a whole
document, and with every recorded one that is asked for:

  missing fields  Each field that a policy reads is left out, made null and given
                  another type. No decision may become more permissive: no weaker
                  effect, no mask lost, no limit raised, no approval dropped. A
                  package that allows nothing is judged as if another allowed.
  optimisations   With and without OPA's rule index and early exit, each input
                  is decided alike.

A field that may be null and lets more through when it is gives a note: null may
mean that there is no such thing, or that it is not known. Elements of lists and entries of labels and claims are no
fields, and schema, protocol and stage are always there: they say which rules are
asked.

The exit status is 0 when everything passed, 1 when a test failed, erred or was
skipped, coverage is below the threshold, something was found, or the policies do
not load, and 2 for a command line that makes no sense.`,
		Example: `  regate policy test policies/lib policies/postgres/* my-bundle
  regate policy test --coverage --threshold 100 my-bundle
  regate policy test --run where -v my-bundle
  regate policy test --since 30d my-bundle             # with recorded inputs, too
  regate policy test --inputs inputs/ -o junit my-bundle > tests.xml`,
		RunE: func(cmd *cobra.Command, args []string) error {
			t.paths = args
			if len(args) == 0 {
				t.paths = []string{"."}
			}
			print, ok := policyTestPrinters[t.output]
			if !ok {
				return &usageError{fmt.Errorf("unknown output %q: text, json, junit or github", t.output)}
			}
			if _, err := regexp.Compile(t.run); err != nil {
				return &usageError{fmt.Errorf("--run: %w", err)}
			}
			if t.threshold < 0 || t.threshold > 100 {
				return &usageError{fmt.Errorf("--threshold: %g is not a percentage", t.threshold)}
			}
			if t.limit < 0 {
				return &usageError{fmt.Errorf("--max-inputs: %d is negative", t.limit)}
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			result, err := t.do(ctx)
			if err != nil {
				return err
			}
			if err := print(cmd.OutOrStdout(), result, t.verbose); err != nil {
				return err
			}
			if !result.Passed {
				return errReported
			}
			return nil
		},
	}
	t.from.add(cmd)
	f := cmd.Flags()
	f.StringVar(&t.run, "run", "", "run only tests whose name matches this regular expression")
	f.BoolVar(&t.coverage, "coverage", false, "report which lines no test reaches")
	f.Float64Var(&t.threshold, "threshold", 0, "fail below this coverage in percent; means --coverage")
	f.DurationVar(&t.timeout, "timeout", 5*time.Second, "of one test")
	f.BoolVarP(&t.verbose, "verbose", "v", false, "every test, and where failed ones failed")
	f.BoolVarP(&t.skipped, "exit-zero-on-skipped", "z", false, "skipped tests do not fail the run")
	f.StringSliceVar(&t.inputs, "inputs", nil, "try these input documents, too: files or folders of JSON or NDJSON")
	f.IntVar(&t.limit, "max-inputs", prove.DefaultRecorded, "try at most so many different recorded inputs")
	f.StringSliceVar(&t.except, "except", nil, "leave this field as it is, e.g. input.subject.claims; may be given again")
	f.BoolVar(&t.shadow, "enforce-shadow", false, "let shadow packages decide like the others")
	f.BoolVar(&t.strict, "strict", false, "notes fail the run, too")
	f.BoolVar(&t.noFields, "no-missing-fields", false, "leave the test of missing fields out")
	f.BoolVar(&t.noCompare, "no-optimisations", false, "leave the test of the optimisations out")
	f.StringVarP(&t.output, "output", "o", "text", "text, json, junit or github (annotations)")
	f.StringVar(&t.output, "format", "text", "the same as --output")
	return cmd
}

// policyTested is everything that the command found. Its JSON is the command's.
type policyTested struct {
	Passed        bool                      `json:"passed"`
	Tests         *prove.TestReport         `json:"-"`
	Threshold     float64                   `json:"-"`
	Inputs        testedInputs              `json:"inputs"`
	MissingFields *prove.MutationReport     `json:"missing_fields,omitempty"`
	Optimisations *prove.DifferentialReport `json:"optimisations,omitempty"`
	Problems      []string                  `json:"problems"` // recorded inputs that could not be read
	Warnings      []string                  `json:"warnings"`

	skippedPass, strict bool
}

// failures are the findings that make the run fail.
func (r *policyTested) failures() []prove.Finding {
	switch {
	case r.MissingFields == nil:
		return nil
	case r.strict:
		return r.MissingFields.Findings
	}
	return r.MissingFields.Failures()
}

// testedInputs counts where the inputs are from.
type testedInputs struct {
	Tests    int `json:"tests"`    // different inputs that the Rego tests use
	Mocked   int `json:"mocked"`   // places left out, as they replace a rule or a function
	Recorded int `json:"recorded"` // recorded ones that were read
	Distinct int `json:"distinct"` // of them, different to the policies, and tried
}

func (t *policyTest) do(ctx context.Context) (*policyTested, error) {
	settings, err := policySettings(t.from.where.config)
	if err != nil {
		return nil, err
	}
	set, err := policy.LoadSet(ctx, policy.SetOptions{
		Paths: t.paths, AllowFrom: settings.AllowFrom, DetectKinds: settings.DetectKinds, EnforceShadow: t.shadow,
	})
	if err != nil {
		return nil, err
	}
	if len(set.Packages()) == 0 && len(set.TestModules()) == 0 {
		return nil, fmt.Errorf("there is no policy and no test in %s", strings.Join(t.paths, ", "))
	}
	o := prove.TestOptions{Filter: t.run, Timeout: t.timeout, Coverage: t.coverage || t.threshold > 0, Trace: t.verbose}
	out := &policyTested{Threshold: t.threshold, Problems: []string{}, Warnings: []string{}, skippedPass: t.skipped, strict: t.strict}
	if out.Tests, err = prove.Test(ctx, set, o); err != nil {
		return nil, err
	}
	if t.noFields && t.noCompare {
		out.Passed = out.passed()
		return out, nil
	}
	captured, err := prove.Capture(ctx, set, o)
	if err != nil {
		return nil, err
	}
	out.Inputs.Tests, out.Inputs.Mocked = len(captured.Cases), captured.Mocked
	cases, err := t.recorded(ctx, set, out, captured.Cases)
	if err != nil {
		return nil, err
	}
	if !t.noFields {
		if out.MissingFields, err = prove.Mutate(ctx, set, slices.Values(cases), prove.MutationOptions{Except: t.except}); err != nil {
			return nil, err
		}
	}
	if !t.noCompare {
		if out.Optimisations, err = prove.Differential(ctx, set, slices.Values(cases)); err != nil {
			return nil, err
		}
	}
	out.Passed = out.passed()
	return out, nil
}

// recorded adds the recorded inputs that the flags ask for. They are bounded,
// so they may be in memory.
func (t *policyTest) recorded(ctx context.Context, set *policy.Set, out *policyTested, cases []prove.Case) ([]prove.Case, error) {
	var sources []corpus.Source
	if len(t.inputs) > 0 {
		source, closer, err := t.from.source(ctx, t.inputs)
		if err != nil {
			return nil, fmt.Errorf("--inputs: %w", err)
		}
		defer closer()
		sources = append(sources, source)
	} else if t.from.given(nil) {
		source, closer, err := t.from.source(ctx, nil)
		if err != nil {
			return nil, err
		}
		defer closer()
		sources = append(sources, source)
	}
	problem := func(err error) {
		switch {
		case errors.Is(err, corpus.ErrNotYet):
			out.Warnings = append(out.Warnings, err.Error())
		case len(out.Problems) < maxProblemsShown:
			out.Problems = append(out.Problems, err.Error())
		}
	}
	for _, source := range sources {
		for c := range prove.Recorded(set, source, t.limit, &out.Inputs.Recorded, problem) {
			out.Inputs.Distinct++
			cases = append(cases, c)
		}
	}
	return cases, nil
}

// maxProblemsShown bounds what is said of recordings that cannot be read.
const maxProblemsShown = 20

func (r *policyTested) passed() bool {
	_, failed, erred, skipped := r.Tests.Counts()
	switch {
	case failed > 0, erred > 0, skipped > 0 && !r.skippedPass:
		return false
	case r.Tests.Coverage != nil && r.Tests.Coverage.Coverage < r.Threshold:
		return false
	case len(r.failures()) > 0:
		return false
	case r.Optimisations != nil && len(r.Optimisations.Disagreements) > 0:
		return false
	}
	return len(r.Problems) == 0
}

// mutations says what was done to a field, for a sentence: "missing, null or a
// string".
func mutations(kinds []prove.Kind) string {
	words := make([]string, len(kinds))
	for i, k := range kinds {
		words[i] = string(k)
	}
	if len(words) > 4 {
		words = append(words[:2:2], "of another type")
	}
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// sentence says what a finding is.
func sentence(f *prove.Finding) string {
	if f.Gained {
		return fmt.Sprintf("%s becomes %s when %s is %s", f.Before, f.After, f.Field, mutations(f.Mutations))
	}
	s := fmt.Sprintf("%s becomes %s when %s is %s", f.Before, f.After, f.Field, mutations(f.Mutations))
	if f.Guard {
		s += " (if another package allows the request)"
	}
	return s
}
