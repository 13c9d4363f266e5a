package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/regate-dev/regate/engine/policy/backtest"
)

// replayPrinters are the forms of a replay's report.
var replayPrinters = map[string]func(io.Writer, replayed) error{
	"text":     printReplay,
	"json":     func(w io.Writer, r replayed) error { return printJSON(w, r) },
	"markdown": printReplayMarkdown,
}

// shownCounts is how many names of a grouping people see.
const shownCounts = 5

func printReplay(out io.Writer, r replayed) error {
	var w strings.Builder
	st := styleFor(out)
	fmt.Fprintf(&w, "%s\n", st.bold(replayHead(&r)))
	for _, line := range replayNotes(&r) {
		fmt.Fprintf(&w, "%s\n", line)
	}
	for _, e := range r.Baseline.Examples {
		printExample(&w, st, e)
	}
	for _, c := range r.Changes {
		printChanges(&w, st, c)
	}
	if a := r.Approvals; a.Was+a.Now > 0 {
		fmt.Fprintf(&w, "\n%s\n", st.bold("approvals a day"))
		tw := tabwriter.NewWriter(&w, 0, 4, 2, ' ', 0)
		for _, d := range a.Days {
			fmt.Fprintf(tw, "  %s\t%s\n", d.Day, fromTo(d.Was, d.Now))
		}
		fmt.Fprintf(tw, "  together\t%s, %+.1f a day\n", fromTo(a.Was, a.Now), a.NewPerDay)
		_ = tw.Flush() // into memory
	}
	if len(r.Changes) == 0 && r.Compared > 0 {
		fmt.Fprintf(&w, "\n%s\n", st.good("nothing would change"))
	}
	_, err := io.WriteString(out, w.String())
	return err
}

func replayHead(r *replayed) string {
	head := counted(r.Decisions, "decision")
	if r.First != nil {
		head += ", " + r.First.Local().Format("2006-01-02 15:04") + " to " + r.Last.Local().Format("2006-01-02 15:04")
	}
	return head + fmt.Sprintf("; %d compared, of %s", r.Compared, counted(r.Evaluated, "different input"))
}

// replayNotes are what must be known before the changes are read, the check of
// the baseline first.
func replayNotes(r *replayed) []string {
	var out []string
	note := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	b := &r.Baseline
	decided := make([]string, 0, len(b.Deciders))
	for _, d := range b.Deciders {
		decided = append(decided, fmt.Sprintf("%s: %d", plainText(nameOrDash(d.Name)), d.Count))
	}
	switch {
	case b.Differs > 0:
		note("CHECK FAILED: %s not reproduced by the bundle that made them: do not rely on what follows", wereNot(b.Differs, "decision"))
	case b.Reproduced > 0:
		note("check: the bundle that decided reproduces %d of %d", b.Reproduced, b.Reproduced)
	case len(b.Deciders) == 0:
	case !b.Given:
		note("not checked: the bundle that decided is not at hand (%s); name it with --baseline", plainText(r.Note))
	default:
		note("not checked: none of these decisions was made by the baseline, but by others; name what decided with --baseline")
	}
	if b.OtherBundles > 0 && (r.Given || b.Reproduced == 0) {
		note("made by other bundles than the baseline: %d decisions, of which it would decide %d otherwise", b.OtherBundles, b.OtherDiffers)
	}
	if b.Reproduced == 0 && len(decided) > 0 {
		note("made by: %s", strings.Join(decided[:min(len(decided), shownCounts)], "; "))
	}
	for _, c := range r.Outside {
		note("left out: %d that no policy decided: %s", c.Count, plainText(c.Name))
	}
	for _, c := range r.OtherSchemas {
		note("left out: %d whose input has the form %s, which this regate does not know", c.Count, plainText(c.Name))
	}
	if r.NoDecision > 0 {
		note("left out: %d inputs that come without a decision: with --baseline they are compared with what it says", r.NoDecision)
	}
	for _, c := range r.Missing {
		note("input.%s is read by the candidate and missing in %d older inputs", plainText(c.Name), c.Count)
	}
	if n := r.Unread.NotYet; n > 0 {
		note("left out: %s not archived yet", counted(n, "session"))
	}
	if n := r.Unread.Problems; n > 0 {
		note("NOT EVERYTHING COULD BE READ: %s", counted(n, "problem"))
		for _, m := range r.Unread.Messages {
			note("  %s", plainText(m))
		}
	}
	if r.Untouched > 0 {
		note("masks changed on fields that the request does not reach: %d times, not counted below", r.Untouched)
	}
	if r.OtherRules > 0 {
		note("%d come out the same for other reasons", r.OtherRules)
	}
	if r.Interrupted {
		note("INTERRUPTED: this is what was read until then")
	}
	return out
}

func nameOrDash(name string) string {
	if name == "" {
		return "no bundle"
	}
	return name
}

func fromTo(was, now int64) string {
	if was == now {
		return fmt.Sprint(was)
	}
	return fmt.Sprintf("%d → %d", was, now)
}

func printChanges(w io.Writer, st style, c backtest.Changes) {
	title := fmt.Sprintf("%s: %s", c.Kind, counted(c.Count, "decision"))
	switch c.Direction {
	case backtest.Looser:
		title = st.bad(title)
	case backtest.Tighter:
		title = st.bold(title)
	}
	fmt.Fprintf(w, "\n%s\n", title)
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, g := range groupings(c) {
		for i, n := range g.counts {
			name := ""
			if i == 0 {
				name = g.name
			}
			if i == shownCounts {
				fmt.Fprintf(tw, "  %s\tand %d more\t\n", name, len(g.counts)-i)
				break
			}
			fmt.Fprintf(tw, "  %s\t%s\t%d\n", name, plainText(n.Name), n.Count)
		}
	}
	_ = tw.Flush() // into memory
	for _, e := range c.Examples {
		printExample(w, st, e)
	}
}

type grouping struct {
	name   string
	counts []backtest.Count
}

func groupings(c backtest.Changes) []grouping {
	return []grouping{{"what", c.ByWhat}, {"rule", c.ByRule}, {"agent", c.ByAgent}, {"table", c.ByTable}}
}

func printExample(w io.Writer, st style, e backtest.Example) {
	fmt.Fprintf(w, "    %s\n", plainText(exampleHead(e)))
	if e.Statement != "" {
		fmt.Fprintf(w, "      %s\n", plainText(e.Statement))
	}
	fmt.Fprintf(w, "      %s → %s\n", st.dim(plainText(side(e.Was))), plainText(side(e.Now)))
	if e.What != "" {
		fmt.Fprintf(w, "      %s\n", plainText(e.What))
	}
}

func exampleHead(e backtest.Example) string {
	head := e.DecisionID + "  " + e.Time.UTC().Format(time.DateTime) + "  " + e.Agent + ", " + e.Target
	if e.Stage != "request" {
		head += ", " + e.Stage
	}
	if e.Statement == "" && e.Verb != "" {
		head += ": " + e.Verb + " " + strings.Join(e.Tables, ", ")
	}
	return head
}

func side(s backtest.Side) string {
	if len(s.Reasons) == 0 {
		return s.Effect
	}
	return s.Effect + " (" + strings.Join(s.Reasons, ", ") + ")"
}
