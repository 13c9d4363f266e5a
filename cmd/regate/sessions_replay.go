package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/engine/record"
)

func newSessionsReplayCmd() *cobra.Command {
	var where archiveFlags
	var speed float64
	cmd := &cobra.Command{
		Use:   "replay SESSION",
		Short: "Play a session back, with what the agent was shown",
		Long: `Play a session back: each statement as it came, what was decided, and the
results as the agent saw them, masked. Without --speed everything is printed at
once; --speed 1 keeps the real timing, --speed 10 is ten times as fast. An exec
into a pod is shown as its terminal was, and what was typed below it;
'regate sessions cast' writes it as a file for asciinema.`,
		Example: `  regate sessions replay 01JQ3Z5V8W7T6S5R4Q3P2N1M0K
  regate sessions replay 01JQ3Z5V8W7T6S5R4Q3P2N1M0K --speed 4`,
		Args: wantOneSession,
		RunE: func(cmd *cobra.Command, args []string) error {
			if speed < 0 {
				return &usageError{fmt.Errorf("the speed must not be negative: %g", speed)}
			}
			session, err := openSession(cmd.Context(), &where, args[0])
			if err != nil {
				return err
			}
			defer session.close()
			// The head has the totals, which only the whole session knows.
			whole := record.NewTranscript(session.session.String())
			if _, err := session.read(cmd.Context(), func(e record.Event) error { whole.Add(e); return nil }); err != nil {
				return err
			}
			p := &player{
				ctx: cmd.Context(), w: cmd.OutOrStdout(), st: styleFor(cmd.OutOrStdout()), speed: speed,
				transcript: record.NewTranscript(session.session.String()), formats: renderers(speed > 0),
				held: map[uint64][]string{},
			}
			printSessionHead(p.w, p.st, session.row(whole), whole.Asserted)
			fmt.Fprintln(p.w)
			problems, err := session.read(cmd.Context(), p.play)
			if err != nil {
				return err
			}
			if err := p.endResult(); err != nil {
				return err
			}
			p.endHolds()
			if err := printVerdict(p.w, p.st, session.row(p.transcript), problems, session.key != nil); err != nil {
				return err
			}
			if len(problems) > 0 {
				return errReported
			}
			return nil
		},
	}
	where.add(cmd)
	cmd.Flags().Float64Var(&speed, "speed", 0, "1 is real time, 0 prints everything at once")
	return cmd
}

// player prints a session event by event.
type player struct {
	ctx        context.Context
	w          io.Writer
	st         style
	speed      float64
	transcript *record.Transcript
	formats    map[string]func(io.Writer) record.Renderer

	last   int64 // time of the event before
	asked  uint64
	held   map[uint64][]string // what is said of a hold, by turn: it is recorded before the request itself
	turn   uint64              // of result
	format string
	result record.Renderer
}

func (p *player) play(e record.Event) error {
	if err := p.wait(e.Time); err != nil {
		return err
	}
	turn := p.transcript.Add(e)
	if e.Kind != record.KindChunk && e.Kind != record.KindPart {
		if err := p.endResult(); err != nil {
			return err
		}
	}
	at := p.clock(e.At())
	const margin = "              "
	switch e.Kind {
	case record.KindRequest:
		if turn == nil || turn.Turn == p.asked && p.asked != 0 {
			return nil // another stage of the same turn
		}
		p.asked = turn.Turn
		text := strings.TrimSpace(turn.Text)
		if text == "" {
			text = "(connects)"
		}
		first := p.clock(turn.Time) + "  " + p.st.bold(fmt.Sprintf("#%d", turn.Turn)) + " "
		for line := range strings.Lines(plainBlock(text)) {
			fmt.Fprintf(p.w, "%s%s\n", first, strings.TrimRight(line, "\n"))
			first = margin + strings.Repeat(" ", len(fmt.Sprintf("#%d", turn.Turn))+1)
		}
		for _, line := range p.held[turn.Turn] {
			fmt.Fprintln(p.w, line)
		}
		delete(p.held, turn.Turn)
	case record.KindDecision:
		if turn == nil {
			return nil
		}
		var ids []string
		for _, r := range turn.Reasons {
			ids = append(ids, strings.TrimSpace(r.ID+" "+p.st.dim(plainText(r.Msg))))
		}
		fmt.Fprintf(p.w, "%s  %s  %s\n", at, p.st.effect(turn.Effect), strings.Join(ids, "; "))
	case record.KindHold:
		if turn != nil {
			p.ofHold(turn.Turn, fmt.Sprintf("%s  held for approval %s", at, plainText(turn.Ticket)))
		}
	case record.KindApproval:
		if turn != nil && len(turn.Approved) > 0 {
			p.ofHold(turn.Turn, fmt.Sprintf("%s  approval %s %s", at, plainText(turn.Ticket), plainText(turn.Approved[len(turn.Approved)-1])))
		}
	case record.KindChunk:
		return p.chunk(e)
	case record.KindOutcome:
		if turn != nil && turn.Outcome != nil {
			fmt.Fprintf(p.w, "%s  %s\n\n", at, outcomeLine(p.st, turn.Outcome))
		}
	case record.KindLoss:
		if l, err := record.DecodeLoss(e.Body); err == nil {
			fmt.Fprintf(p.w, "%s  %s\n", at, p.st.bad(fmt.Sprintf("%s lost, %d refused: %s", counted(int64(l.Count), "event"), l.Refused, plainText(l.Reason))))
		}
	case record.KindNote:
		if n, err := record.DecodeNote(e.Body); err == nil {
			fmt.Fprintf(p.w, "%s  %s\n", at, plainText(strings.TrimSpace(n.Code+" "+n.Text)))
		}
	case record.KindClose:
		p.endHolds()
		if c, err := record.DecodeClose(e.Body); err == nil {
			fmt.Fprintf(p.w, "%s  closed: %s\n\n", at, plainText(c.Reason))
		}
	}
	return nil
}

func (p *player) clock(t time.Time) string { return p.st.dim(t.Local().Format("15:04:05.000")) }

// ofHold prints a line below its request, or keeps it until the request comes.
func (p *player) ofHold(turn uint64, line string) {
	if turn == p.asked {
		fmt.Fprintln(p.w, line)
		return
	}
	p.held[turn] = append(p.held[turn], line)
}

// endHolds prints what is kept of requests that were never recorded: the
// gateway died while they were held.
func (p *player) endHolds() {
	for _, turn := range slices.Sorted(maps.Keys(p.held)) {
		fmt.Fprintf(p.w, "%s %s\n", p.st.bold(fmt.Sprintf("#%d", turn)), p.st.dim("(not recorded: it was held until the end)"))
		for _, line := range p.held[turn] {
			fmt.Fprintln(p.w, line)
		}
	}
	clear(p.held)
}

func (p *player) chunk(e record.Event) error {
	c, err := record.DecodeChunk(e.Body)
	if err != nil {
		return err
	}
	several, _ := p.result.(severalFormats)
	if several != nil && p.turn == c.Turn && several.Takes(c.Format) {
		return several.WriteAs(c.Format, c.Data)
	}
	if p.result != nil && (p.turn != c.Turn || p.format != c.Format) {
		if err := p.endResult(); err != nil {
			return err
		}
	}
	if p.result == nil {
		open := p.formats[c.Format]
		if open == nil {
			open = plainRenderer
		}
		p.turn, p.format, p.result = c.Turn, c.Format, open(p.w)
		if several, ok := p.result.(severalFormats); ok {
			return several.WriteAs(c.Format, c.Data)
		}
	}
	return p.result.Write(c.Data)
}

func (p *player) endResult() error {
	if p.result == nil {
		return nil
	}
	result := p.result
	p.result = nil
	return result.Flush()
}

// wait keeps the real time between events, divided by the speed.
func (p *player) wait(at int64) error {
	before := p.last
	p.last = at
	if p.speed == 0 || before == 0 || at <= before {
		return nil
	}
	select {
	case <-p.ctx.Done():
		return p.ctx.Err()
	case <-time.After(time.Duration(float64(at-before) / p.speed)):
		return nil
	}
}
