package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/policy/scaffold"
)

// inputDocument is one document to print.
type inputDocument struct {
	name string // what a test of it is called, e.g. "delete users"
	text string // what was asked, for a comment; may be empty
	json []byte
	// refused is set where the gateway refuses the request itself.
	refused *engine.Denial
}

// inputPrinter prints input documents as the flags say. Every `regate input`
// command has one.
type inputPrinter struct {
	output string
	asTest bool
	pkg    string
	bundle []string
}

func (p *inputPrinter) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&p.output, "output", "o", "json", "json, or jsonl for one document a line")
	p.addTest(cmd)
}

func (p *inputPrinter) addTest(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&p.asTest, "as-test", false, "print a Rego test of it instead")
	cmd.Flags().StringVar(&p.pkg, "package", "regate.policies.acme.example", "with --as-test: the package that is tested")
	cmd.Flags().StringSliceVar(&p.bundle, "bundle", nil, "with --as-test: policies with that package; the test holds what they say now (repeatable)")
}

func (p *inputPrinter) check() error {
	if p.output != "json" && p.output != "jsonl" {
		return &usageError{fmt.Errorf("unknown output %q: json or jsonl", p.output)}
	}
	return p.checkTest()
}

func (p *inputPrinter) checkTest() error {
	if len(p.bundle) > 0 && !p.asTest {
		return &usageError{errors.New("--bundle goes with --as-test")}
	}
	return nil
}

// print writes the documents to cmd's standard output and what else is to be
// known of them to standard error.
func (p *inputPrinter) print(cmd *cobra.Command, docs []inputDocument) error {
	if err := p.write(cmd.Context(), cmd.OutOrStdout(), docs); err != nil {
		return err
	}
	for _, d := range docs {
		for _, note := range notes(d) {
			fmt.Fprintln(cmd.ErrOrStderr(), plainText("regate: note: "+note))
		}
	}
	return nil
}

func (p *inputPrinter) write(ctx context.Context, w io.Writer, docs []inputDocument) error {
	if p.asTest {
		source, err := p.test(ctx, docs)
		if err != nil {
			return err
		}
		if onTerminal(w) {
			source = harmlessJSON(source)
		}
		_, err = w.Write(source)
		return err
	}
	for _, d := range docs {
		doc := d.json
		if p.output == "json" {
			var b bytes.Buffer
			if err := json.Indent(&b, doc, "", "  "); err != nil {
				return err
			}
			doc = b.Bytes()
		}
		if onTerminal(w) {
			doc = harmlessJSON(doc)
		}
		if _, err := fmt.Fprintf(w, "%s\n", doc); err != nil {
			return err
		}
	}
	return nil
}

// test makes a Rego test of the documents.
func (p *inputPrinter) test(ctx context.Context, docs []inputDocument) ([]byte, error) {
	pkg := strings.TrimPrefix(p.pkg, "data.")
	var set *policy.Set
	if len(p.bundle) > 0 {
		var err error
		if set, err = loadPolicies(ctx, policy.Config{}, p.bundle); err != nil {
			return nil, err
		}
	}
	cases := make([]scaffold.TestCase, 0, len(docs))
	for _, d := range docs {
		c := scaffold.TestCase{Name: d.name, Comment: strings.TrimSpace(d.text), Input: d.json}
		if set != nil {
			var err error
			if c.Say, err = scaffold.Say(ctx, set, pkg, d.json); err != nil {
				return nil, err
			}
		}
		cases = append(cases, c)
	}
	return scaffold.TestModule(pkg, cases)
}

// maxNotes bounds how many unknown things of one document are listed.
const maxNotes = 5

// notes are what an author may overlook.
func notes(d inputDocument) []string {
	var out []string
	if d.refused != nil {
		out = append(out, fmt.Sprintf("the gateway refuses this itself, whatever policies say: %s", d.refused.Error()))
	}
	var doc struct {
		Complete bool `json:"complete"`
		Unknown  []struct{ What, Why string }
	}
	if json.Unmarshal(d.json, &doc) != nil || doc.Complete {
		return out
	}
	for i, u := range doc.Unknown {
		if i == maxNotes {
			out = append(out, fmt.Sprintf("not complete: and %d more", len(doc.Unknown)-i))
			break
		}
		out = append(out, fmt.Sprintf("not complete: %s: %s", u.What, u.Why))
	}
	return out
}
