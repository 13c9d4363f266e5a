package main

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/regate-dev/regate/engine/policy/explain"
)

// printExplanation writes a page for a person.
func printExplanation(w io.Writer, e *explain.Explanation) error {
	p := &page{w: w, st: styleFor(w)}
	p.head(e)
	p.section("Rules that fired")
	for _, r := range e.Fired {
		p.rule(r)
	}
	if len(e.Fired) == 0 {
		p.line("  none")
	}
	if len(e.Near) > 0 {
		p.section("Closest to firing")
		for _, r := range e.Near {
			p.rule(r)
			p.conditions(r.Failing, "      ")
			if r.NotReached > 0 {
				p.line("      %s", p.st.dim(counted(int64(r.NotReached), "condition")+" could not be looked at: they need a value of the above"))
			}
		}
	}
	p.section("One value that would have changed it")
	for _, c := range e.Changes {
		p.line("  %s %s  %s", p.st.effect(c.Effect.String()), plainText(c.Path), p.st.dim(strings.Join(plainList(c.Reasons), ", ")))
		p.line("        from %s", p.json(c.From))
		p.line("        to   %s", p.json(c.To))
	}
	if len(e.Changes) == 0 {
		p.line("  none was found: no single value that was tried is enough")
	}
	note := fmt.Sprintf("%d changes were tried, and each of the above evaluated", e.Tried)
	if !e.Exhausted {
		note += "; there may be more"
	}
	p.line("  %s", p.st.dim(note))
	return p.err
}

// page writes lines and keeps the first error.
type page struct {
	w   io.Writer
	st  style
	err error
}

func (p *page) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, strings.TrimRight(format, " ")+"\n", args...)
	}
}

func (p *page) section(title string) { p.line("\n%s", p.st.bold(title)) }

func (p *page) head(e *explain.Explanation) {
	title := "Input"
	if r := e.Recorded; r != nil {
		title = "Decision " + plainText(r.DecisionID)
		if r.DecisionID == "" {
			title = "Decision"
		}
	}
	about := []string{}
	for _, s := range []string{e.Protocol, e.Target, e.Stage} {
		if s != "" {
			about = append(about, plainText(s))
		}
	}
	p.line("%s  %s  %s", p.st.bold(title), strings.TrimSpace(p.st.effect(e.Effect.String())), p.st.dim(strings.Join(about, " · ")))
	if r := e.Recorded; r != nil && !r.Time.IsZero() {
		p.line("  decided %s", r.Time.Local().Format("2006-01-02 15:04:05 MST"))
	}
	for _, r := range e.Reasons {
		p.line("  because %s  %s", plainText(r.ID), p.st.dim(plainText(r.Msg)))
	}
	for _, s := range e.Errors {
		p.line("  %s", p.st.bad("error: "+plainText(s)))
	}
	for _, b := range e.Bundles {
		switch {
		case b.Same:
			p.line("  bundle %s %s, the one that decided", plainText(b.Name), p.st.dim(bundleWords(b)))
		case b.Decided == nil && e.Recorded == nil:
			p.line("  bundle %s %s", plainText(b.Name), p.st.dim(bundleWords(b)))
		}
	}
	for _, s := range e.Warnings {
		p.line("  %s", p.st.paint("33", "warning: "+plainText(s)))
	}
}

func bundleWords(b explain.Bundle) string {
	words := shortDigest(b.AtHand.Digest)
	if b.AtHand.Revision != "" {
		words = plainText(b.AtHand.Revision) + " " + words
	}
	return words
}

// shortDigest is enough of a digest to tell two apart.
func shortDigest(d string) string {
	d = strings.TrimPrefix(d, "sha256:")
	return d[:min(len(d), 12)]
}

func (p *page) rule(r explain.Rule) {
	name := strings.Join(plainList(r.IDs), ", ")
	if name == "" {
		name = plainText(r.Package) + " (the id depends on the input)"
	}
	status := ""
	if n := len(r.Failing) + r.NotReached; n > 0 {
		status = fmt.Sprintf("%d of %s missing", n, counted(int64(max(r.Conditions, n)), "condition"))
	}
	p.line("  %-16s %s  %s  %s", r.Entry, name, p.st.dim(fileLine(r.File, r.Line)), p.st.dim(status))
}

func (p *page) conditions(list []explain.Condition, indent string) {
	for _, c := range list {
		p.line("%s%s %s  %s", indent, p.st.bad("✗"), plainText(c.Text), p.st.dim(fileLine(c.File, c.Line)))
		for _, v := range c.Values {
			if v.Undefined {
				p.line("%s    %s is not there", indent, plainText(v.Name))
				continue
			}
			p.line("%s    %s is %s", indent, plainText(v.Name), p.json(v.Value))
		}
		if c.Error != "" {
			p.line("%s    %s", indent, p.st.bad(plainText(c.Error)))
		}
		p.conditions(c.Inside, indent+"    ")
	}
}

// json is a value in one line; on a terminal, nothing that it would obey.
func (p *page) json(raw json.RawMessage) string {
	if len(raw) == 0 {
		return "null"
	}
	return string(harmlessJSON(raw))
}

func fileLine(file string, line int) string {
	if file == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d", plainText(filepath.ToSlash(file)), line)
}

func plainList(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = plainText(s)
	}
	return out
}
