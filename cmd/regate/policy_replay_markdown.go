package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/regate-dev/regate/engine/policy/backtest"
)

// printReplayMarkdown writes a comment for a pull request. Names come from
// recorded traffic, so nothing in them may be Markdown or HTML.
func printReplayMarkdown(out io.Writer, r replayed) error {
	var w strings.Builder
	title := "nothing would change"
	switch bad := r.failures(); {
	case r.Baseline.Differs > 0 || r.Unread.Problems > 0 || r.Interrupted:
		title = "not complete"
	case len(bad) > 0:
		title = strings.Join(bad, ", ")
	case r.Compared == 0:
		title = "nothing was compared"
	case len(r.Changes) > 0:
		title = counted(r.Flips(), "change")
	}
	fmt.Fprintf(&w, "### Policy replay: %s\n\n%s\n", title, inMarkdown(replayHead(&r)))
	if notes := replayNotes(&r); len(notes) > 0 {
		w.WriteByte('\n')
		for _, n := range notes {
			fmt.Fprintf(&w, "- %s\n", inMarkdown(strings.TrimSpace(n)))
		}
	}
	if len(r.Changes) > 0 {
		w.WriteString("\n| change | | decisions | rules | agents | tables |\n|---|---|---:|---|---|---|\n")
		for _, c := range r.Changes {
			fmt.Fprintf(&w, "| %s | %s | %d | %s | %s | %s |\n", c.Kind, c.Direction, c.Count, inCells(c.ByRule), inCells(c.ByAgent), inCells(c.ByTable))
		}
	}
	if a := r.Approvals; a.Was+a.Now > 0 {
		fmt.Fprintf(&w, "\nApprovals: %s, %+.1f a day\n", fromTo(a.Was, a.Now), a.NewPerDay)
	}
	for _, c := range r.Changes {
		if len(c.Examples) == 0 {
			continue
		}
		fmt.Fprintf(&w, "\n<details><summary>%s: examples</summary>\n\n", c.Kind)
		for _, e := range c.Examples {
			printExampleMarkdown(&w, e)
		}
		w.WriteString("\n</details>\n")
	}
	_, err := io.WriteString(out, w.String())
	return err
}

func printExampleMarkdown(w io.Writer, e backtest.Example) {
	fmt.Fprintf(w, "- %s\n", inMarkdown(exampleHead(e)))
	for _, line := range []string{e.Statement, side(e.Was) + " → " + side(e.Now), e.What} {
		if line != "" {
			fmt.Fprintf(w, "  - %s\n", inMarkdown(line))
		}
	}
}

func inCells(list []backtest.Count) string {
	var parts []string
	for i, c := range list {
		if i == shownCounts {
			parts = append(parts, fmt.Sprintf("and %d more", len(list)-i))
			break
		}
		parts = append(parts, fmt.Sprintf("%s: %d", inMarkdown(c.Name), c.Count))
	}
	return strings.Join(parts, "<br>")
}

// inMarkdown escapes whatever Markdown gives a meaning, mentions and references
// of code hosts included.
func inMarkdown(s string) string {
	var b strings.Builder
	for _, r := range plainText(s) {
		switch {
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		case r == '&':
			b.WriteString("&amp;")
		case r == '@' || r == '#':
			fmt.Fprintf(&b, "&#%d;", r)
		case strings.ContainsRune("\\`*_{}[]()!|~+", r):
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
