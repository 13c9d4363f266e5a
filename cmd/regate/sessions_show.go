package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/record"
)

// shown is a session as `sessions show -o json` prints it.
type shown struct {
	Session  record.SessionRow `json:"session"`
	Asserted json.RawMessage   `json:"asserted"` // the agent's own words, never verified; null where it said nothing
	Turns    []shownTurn       `json:"turns"`
	Problems []record.Problem  `json:"problems"`
}

type shownTurn struct {
	*record.TurnView
	// Results are what the agent was shown, where the format of the recorded
	// chunks is known.
	Results any `json:"results,omitempty"`
	// ResultsNote says why there are no results, or not all of them.
	ResultsNote string `json:"results_note,omitempty"`
}

func newSessionsShowCmd() *cobra.Command {
	var where archiveFlags
	var output string
	var inputOf int64
	var printer inputPrinter
	cmd := &cobra.Command{
		Use:   "show SESSION",
		Short: "Show who did what in a session, and what was decided",
		Long: `Show who did what in a session, and what was decided. With -o json, the results
that the agent was shown are there too.

--input N prints the input document of request N: exactly what the policies were
asked about, put together again from the recording, its digest checked. A request
whose result was decided on too has one document for each stage, one a line. With
--as-test it is a Rego test that stock opa runs.`,
		Example: `  regate sessions show 01JQ3Z5V8W7T6S5R4Q3P2N1M0K
  regate sessions show 01JQ3Z5V8W7T6S5R4Q3P2N1M0K --input 2 | jq .action
  regate sessions show 01JQ3Z5V8W7T6S5R4Q3P2N1M0K --input 2 --as-test --package regate.policies.acme.sql
  regate sessions show 01JQ3Z5V8W7T6S5R4Q3P2N1M0K -o json | jq '.turns[] | select(.effect == "deny")'`,
		Args: wantOneSession,
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "text" && output != "json" {
				return &usageError{fmt.Errorf("unknown output %q: text or json", output)}
			}
			wanted := cmd.Flags().Changed("input")
			if wanted && inputOf < 0 {
				return &usageError{fmt.Errorf("--input wants the number of a request, not %d", inputOf)}
			}
			if printer.asTest && !wanted {
				return &usageError{errors.New("--as-test goes with --input, the number of a request")}
			}
			if err := printer.checkTest(); err != nil {
				return err
			}
			session, err := openSession(cmd.Context(), &where, args[0])
			if err != nil {
				return err
			}
			defer session.close()
			if wanted {
				docs, err := session.inputs(cmd.Context(), uint64(inputOf))
				if err != nil {
					return err
				}
				return printer.write(cmd.Context(), cmd.OutOrStdout(), docs)
			}
			out, err := session.show(cmd.Context(), output == "json")
			if err != nil {
				return err
			}
			if output == "json" {
				err = printJSON(cmd.OutOrStdout(), out)
			} else {
				err = printShown(cmd.OutOrStdout(), out, session.key != nil)
			}
			if err == nil && len(out.Problems) > 0 {
				err = errReported
			}
			return err
		},
	}
	where.add(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.Flags().Int64Var(&inputOf, "input", 0, "print the input document of the request with this number instead")
	printer.addTest(cmd)
	return cmd
}

// show reads the whole session.
func (r *recorded) show(ctx context.Context, results bool) (shown, error) {
	transcript := record.NewTranscript(r.session.String())
	out := shown{Turns: []shownTurn{}, Problems: []record.Problem{}}
	var last *record.TurnView
	chunks := collectedChunks{}
	problems, err := r.read(ctx, func(e record.Event) error {
		turn := transcript.Add(e)
		if turn != nil && turn != last && (last == nil || turn.Turn > last.Turn) {
			out.Turns = append(out.Turns, shownTurn{TurnView: turn})
			last = turn
		}
		if results && e.Kind == record.KindChunk {
			return chunks.add(e)
		}
		return nil
	})
	if err != nil {
		return out, err
	}
	for i := range out.Turns {
		t := &out.Turns[i]
		t.Results, t.ResultsNote = chunks.results(t.Turn)
	}
	out.Session, out.Asserted = r.row(transcript), transcript.Asserted
	out.Problems = append(out.Problems, problems...)
	return out, nil
}

// inputs are the input documents of one request, byte for byte as they were
// decided on.
func (r *recorded) inputs(ctx context.Context, turn uint64) ([]inputDocument, error) {
	transcript := record.NewTranscript(r.session.String())
	var docs []inputDocument
	problems, err := r.read(ctx, func(e record.Event) error {
		view := transcript.Add(e)
		if e.Kind != record.KindRequest {
			return nil
		}
		req, err := record.DecodeRequest(e.Body)
		if err != nil || req.Turn != turn {
			return nil // the reading reports what does not decode
		}
		doc, err := transcript.Document(req)
		if err != nil {
			return err
		}
		d := inputDocument{name: documentName(doc), json: doc}
		if view != nil {
			d.text = view.Text
		}
		docs = append(docs, d)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("the recording is damaged: %s", plainText(problems[0].String()))
	}
	if len(docs) == 0 {
		return nil, fmt.Errorf("session %s has no request %d", r.session, turn)
	}
	return docs, nil
}

func wantOneSession(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return &usageError{fmt.Errorf("one session id is needed, not %d", len(args))}
	}
	return nil
}

func printShown(w io.Writer, s shown, checked bool) error {
	st := styleFor(w)
	printSessionHead(w, st, s.Session, s.Asserted)
	fmt.Fprintln(w)
	for _, t := range s.Turns {
		printTurn(w, st, t.TurnView)
	}
	return printVerdict(w, st, s.Session, s.Problems, checked)
}

func printSessionHead(w io.Writer, st style, s record.SessionRow, asserted json.RawMessage) {
	fmt.Fprintf(w, "%s  %s\n", st.bold("Session "+s.ID), st.dim(s.State))
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	line := func(name string, parts ...string) {
		parts = slices.DeleteFunc(parts, func(p string) bool { return p == "" })
		if len(parts) > 0 {
			fmt.Fprintf(tw, "  %s\t%s\n", name, plainText(strings.Join(parts, "  ")))
		}
	}
	line("who", who(s), paren(s.Issuer), labelled("client", s.ClientID))
	line("target", s.Target, paren(s.Protocol), labelled("database", s.Database), labelled("role", s.Role))
	line("from", s.Client, s.Application)
	var said input.Asserted
	_ = json.Unmarshal(asserted, &said) // nothing was said
	for _, a := range []struct{ name, value string }{
		{"purpose", said.Purpose}, {"ticket", said.Ticket}, {"task", said.Task}, {"step", said.Step},
	} {
		if a.value != "" {
			line(a.name, a.value, notVerified)
		}
	}
	when := s.Started.Local().Format("2006-01-02 15:04:05 MST")
	if !s.Ended.IsZero() {
		when += ", " + shortDuration(s.Ended.Sub(s.Started))
	}
	line("time", when, labelled("ended:", s.Reason))
	line("gateway", s.Gateway)
	line("totals", fmt.Sprintf("%s, %d denied, %d held, %s, %s", counted(s.Requests, "request"), s.Denials, s.Holds,
		counted(s.Rows, "row"), byteSize(s.Bytes)))
	_ = tw.Flush()
}

// notVerified follows what an agent says of itself.
const notVerified = "(the agent's own words, not verified)"

func printTurn(w io.Writer, st style, t *record.TurnView) {
	const indent = "      "
	fmt.Fprintf(w, "%s %s  %s  %s\n", st.bold(fmt.Sprintf("%-5s", fmt.Sprintf("#%d", t.Turn))),
		st.dim(t.Time.Local().Format("15:04:05.000")), st.effect(t.Effect), st.dim(strings.Join(t.Tables, ", ")))
	for line := range strings.Lines(plainBlock(strings.TrimSpace(t.Text))) {
		fmt.Fprintf(w, "%s%s\n", indent, strings.TrimRight(line, "\n"))
	}
	for _, r := range t.Reasons {
		fmt.Fprintf(w, "%s%s\n", indent, st.dim(plainText(strings.TrimSpace("because "+r.ID+"  "+r.Msg))))
	}
	for _, a := range t.Approved {
		fmt.Fprintf(w, "%sapproval %s %s\n", indent, t.Ticket, plainText(a))
	}
	if o := t.Outcome; o != nil {
		fmt.Fprintf(w, "%s%s\n", indent, outcomeLine(st, o))
	} else if t.Ticket != "" && t.Effect == "require_approval" {
		fmt.Fprintf(w, "%swaits for approval %s\n", indent, t.Ticket)
	}
	fmt.Fprintln(w)
}

func outcomeLine(st style, o *record.OutcomeView) string {
	parts := []string{}
	if o.Code != "" || o.Message != "" {
		parts = append(parts, st.bad("error "+plainText(strings.TrimSpace(o.Code+" "+o.Message))))
	}
	if o.Tag != "" {
		parts = append(parts, plainText(o.Tag))
	}
	parts = append(parts, counted(o.Rows, "row"), byteSize(o.Bytes), shortDuration(o.Duration))
	if o.Cancelled {
		parts = append(parts, "cancelled")
	}
	if o.Limited {
		parts = append(parts, "cut by a limit")
	}
	return "→ " + strings.Join(parts, ", ")
}

func printVerdict(w io.Writer, st style, s record.SessionRow, problems []record.Problem, checked bool) error {
	for _, p := range problems {
		fmt.Fprintln(w, st.bad("problem: "+plainText(p.String())))
	}
	verdict := st.good("whole and unchanged")
	switch {
	case len(problems) > 0:
		verdict = st.bad(counted(int64(len(problems)), "problem"))
	case s.State == record.StateLive:
		verdict += ", not closed yet"
	case checked:
		verdict += ", receipt signed by the gateway"
	default:
		verdict += ", receipt not checked (no public key)"
	}
	_, err := fmt.Fprintf(w, "%s: %s\n", counted(int64(s.Events), "event"), verdict)
	return err
}

func paren(s string) string {
	if s == "" {
		return ""
	}
	return "(" + s + ")"
}

func labelled(label, s string) string {
	if s == "" {
		return ""
	}
	return label + " " + s
}

func counted(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func byteSize(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	default:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
}

// shortDuration rounds to what a person reads.
func shortDuration(d time.Duration) string {
	unit := time.Microsecond
	switch {
	case d >= time.Minute:
		unit = time.Second
	case d >= time.Second:
		unit = 10 * time.Millisecond
	case d >= time.Millisecond:
		unit = 10 * time.Microsecond
	}
	return cmp.Or(max(d, 0).Round(unit).String(), "0s")
}
