package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/regate-dev/regate/engine/approval"
	"github.com/regate-dev/regate/engine/input"
)

// Everything that an agent can choose goes through plainText or plainBlock: a
// statement must not be able to draw on the approver's terminal.

func printTickets(w io.Writer, list []*approval.Ticket, more bool) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "nothing is held")
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "APPROVAL\tSTATE\tASKED\tEXPIRES\tWHO\tTARGET\tNEEDS\tREQUEST")
	for _, t := range list {
		expires := "-"
		if t.State.Open() {
			expires = untilText(t.ExpiresAt)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.State, t.CreatedAt.Local().Format("2006-01-02 15:04:05"),
			expires, plainText(requesterText(t)), plainText(t.Target.Name), plainText(needsText(t)), shorten(plainText(t.Summary), 60))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if more {
		_, err := fmt.Fprintln(w, "there are older ones: raise --limit")
		return err
	}
	return nil
}

func printTicket(w io.Writer, t *approval.Ticket) error {
	p := &ticketPrinter{w: w, style: styleFor(w)}
	p.line("%s  %s", p.bold(t.ID), p.state(t.State))
	p.head("who")
	p.field("authority", principalText(t.Subject))
	if t.Actor != nil {
		p.field("agent", principalText(*t.Actor))
	}
	p.field("session", t.SessionID)
	for _, a := range []struct{ name, value string }{
		{"purpose", t.Asserted.Purpose}, {"ticket", t.Asserted.Ticket}, {"task", t.Asserted.Task}, {"step", t.Asserted.Step},
	} {
		if a.value != "" {
			p.field(a.name, a.value+"   "+notVerified)
		}
	}
	p.head("what")
	p.field("target", targetText(t.Target))
	p.request(t)
	p.head("why it is held")
	for _, r := range t.Reasons {
		if !slices.ContainsFunc(t.Requirements, func(q approval.Requirement) bool { return q.ID == r.ID }) {
			p.field(r.ID, r.Msg) // a requirement's own reason is below
		}
	}
	for _, r := range t.Requirements {
		p.field(r.ID, requirementText(t, r))
	}
	p.head("what comes back")
	if len(t.Masks) == 0 {
		p.field("masks", "none")
	}
	for _, m := range t.Masks {
		what := m.Field
		if what == "" {
			what = "any " + m.Detect
		}
		p.field("mask", what+" by "+m.Method)
	}
	if limit := limitText(t.Limit); limit != "" {
		p.field("limit", limit)
	}
	p.head("state")
	p.field("asked", timeText(t.CreatedAt))
	if t.State.Open() {
		p.field("expires", timeText(t.ExpiresAt)+", "+untilText(t.ExpiresAt))
	} else {
		p.field("expired", timeText(t.ExpiresAt))
	}
	for _, a := range t.Approvals {
		p.field("approved", strings.TrimSpace(a.By.ID+" "+timeText(a.At)+" "+a.Note))
	}
	if r := t.Resolution; r != nil {
		who := ""
		if r.By != nil {
			who = r.By.ID + " "
		}
		p.field(string(t.State), strings.TrimSpace(who+timeText(r.At)+" "+r.Reason))
	}
	return p.err
}

// printDecided says in one line what a decision has led to.
func printDecided(w io.Writer, t *approval.Ticket) error {
	s := styleFor(w)
	switch t.State {
	case approval.Approved:
		_, err := fmt.Fprintf(w, "%s %s: the request may run once, until %s\n", t.ID, s.good("approved"), timeText(t.ExpiresAt))
		return err
	case approval.Pending:
		_, err := fmt.Fprintf(w, "%s your approval counts; still needed: %s\n", t.ID, plainText(needsText(t)))
		return err
	default:
		_, err := fmt.Fprintf(w, "%s %s\n", t.ID, s.bad(string(t.State)))
		return err
	}
}

// ticketPrinter writes headings with fields below them.
type ticketPrinter struct {
	style
	w   io.Writer
	err error
}

func (p *ticketPrinter) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

func (p *ticketPrinter) head(title string) { p.line("\n%s", p.bold(title)) }

func (p *ticketPrinter) field(name, value string) {
	p.line("  %s %s", p.dim(fmt.Sprintf("%-12s", plainText(name))), plainText(value))
}

// block writes text of several lines, each set off so that none can pass for
// a field.
func (p *ticketPrinter) block(name, text string) {
	p.line("  %s", p.dim(name))
	for line := range strings.SplitSeq(strings.TrimRight(plainBlock(text), "\n"), "\n") {
		p.line("    │ %s", line)
	}
}

func (p *ticketPrinter) state(s approval.State) string {
	switch s {
	case approval.Approved, approval.Consumed:
		return p.good(string(s))
	case approval.Pending:
		return p.paint("33", string(s))
	default:
		return p.bad(string(s))
	}
}

// request shows the statement, its parameters and what it touches, as policy
// saw them. A request of a protocol that this command does not know is shown
// as it is.
func (p *ticketPrinter) request(t *approval.Ticket) {
	var req struct {
		SQL        *input.SQL        `json:"sql"`
		Action     *input.SQLAction  `json:"action"`
		Resource   input.SQLResource `json:"resource"`
		Parameters []input.Parameter `json:"parameters"`
	}
	if err := json.Unmarshal(t.Request, &req); err != nil || req.SQL == nil {
		p.field("request", t.Summary)
		p.block("as policy saw it", string(t.Request))
		return
	}
	p.block("statement", req.SQL.Text)
	for _, q := range req.Parameters {
		value := "NULL"
		if q.Value != nil {
			value = *q.Value
			if q.Encoding != "" && q.Encoding != "text" {
				value += "  (" + q.Encoding + ")"
			}
		}
		p.field(fmt.Sprintf("$%d %s", q.Index, q.Type), value)
	}
	if req.Action != nil {
		p.field("does", actionText(*req.Action))
	}
	for _, name := range slices.Sorted(maps.Keys(req.Resource.Tables)) {
		table := req.Resource.Tables[name]
		text := strings.Join(table.Access, ", ")
		if len(table.Written) > 0 {
			text += ": " + strings.Join(table.Written, ", ")
		}
		if len(table.Via) > 0 {
			text += ", by way of " + strings.Join(table.Via, ", ")
		}
		p.field("table", name+"  "+text)
	}
	if len(req.Resource.FunctionNames) > 0 {
		p.field("functions", strings.Join(req.Resource.FunctionNames, ", "))
	}
}

func actionText(a input.SQLAction) string {
	text := a.Verb
	if len(a.Verbs) > 1 {
		text += " (with " + strings.Join(a.Verbs, ", ") + ")"
	}
	if a.HasWhere != nil && !*a.HasWhere && a.Writes {
		text += ", WITHOUT a WHERE clause"
	}
	if a.WhereConstant != nil && *a.WhereConstant {
		text += ", with a WHERE clause that names no column"
	}
	if a.Opaque {
		text += ", and runs text that cannot be seen"
	}
	return text
}

func principalText(p input.Principal) string {
	text := p.ID
	if p.ClientID != "" && p.ClientID != p.ID {
		text += ", client " + p.ClientID
	}
	if len(p.Groups) > 0 {
		text += ", of " + strings.Join(p.Groups, ", ")
	}
	return text + "  (" + p.Issuer + ")"
}

func requesterText(t *approval.Ticket) string {
	if t.Actor != nil {
		return t.Subject.ID + " by " + t.Actor.ID
	}
	return t.Subject.ID
}

func targetText(t input.Target) string {
	text := t.Name
	if t.Database != "" {
		text += ", database " + t.Database
	}
	if t.Role != "" {
		text += " as " + t.Role
	}
	for _, k := range slices.Sorted(maps.Keys(t.Labels)) {
		text += ", " + k + "=" + t.Labels[k]
	}
	return text
}

func requirementText(t *approval.Ticket, r approval.Requirement) string {
	need := max(r.Count, 1)
	given := 0
	for _, a := range t.Approvals {
		if slices.Contains(a.Meets, r.ID) {
			given++
		}
	}
	text := fmt.Sprintf("%d of %d from %s", given, need, fromText(r.From))
	msg := r.Msg
	for _, why := range t.Reasons {
		if msg == "" && why.ID == r.ID {
			msg = why.Msg
		}
	}
	if msg != "" {
		text += ": " + msg
	}
	return text
}

func fromText(from []string) string {
	if len(from) == 0 {
		return "nobody"
	}
	return strings.Join(from, " or ")
}

// needsText says what an open ticket still waits for.
func needsText(t *approval.Ticket) string {
	if t.State != approval.Pending {
		return "-"
	}
	var list []string
	for _, r := range t.Missing() {
		list = append(list, fmt.Sprintf("%d from %s", r.Count, fromText(r.From)))
	}
	return strings.Join(list, "; ")
}

func limitText(l approval.Limit) string {
	var list []string
	if l.Rows > 0 {
		list = append(list, counted(l.Rows, "row"))
	}
	if l.Bytes > 0 {
		list = append(list, counted(l.Bytes, "byte"))
	}
	if l.Seconds > 0 {
		list = append(list, fmt.Sprintf("%g seconds", l.Seconds))
	}
	return strings.Join(list, ", ")
}

func timeText(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

func untilText(t time.Time) string {
	left := time.Until(t).Round(time.Second)
	if left <= 0 {
		return "now"
	}
	return "in " + left.String()
}

func shorten(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
