package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/input"
	httpproxy "github.com/regate-dev/regate/proxies/http"
	"github.com/regate-dev/regate/proxies/http/request"
)

func newInputHTTPCmd() *cobra.Command {
	c := &inputHTTP{}
	cmd := &cobra.Command{
		Use:   "http [URL]",
		Short: "Print the input document of an HTTP request",
		Long: `Print the input document of one HTTP request, as the gateway would make it. It is
a GET of the URL, or read from a file with -f or from standard input: its
request line, its headers, an empty line and its body, as HTTP/1.1 has them. A
request line with a whole URL is one to the forward proxy.

With --openapi the routes of that document are known: policies then see the
template and the id of the operation. Everything that policies may read is read,
the body and its findings included.

What the gateway refuses without asking a policy is an error here.`,
		Example: `  regate input http 'https://api.example.com/orders?limit=10'
  regate input http -f request.http --openapi shop.yaml --group support
  printf 'DELETE /orders/17 HTTP/1.1\nHost: api.example.com\n\n' | regate input http
  regate input http -f request.http --as-test --package regate.policies.acme.shop`,
		Args: wantAtMostOne("URL"),
		RunE: c.run,
	}
	c.who.add(cmd)
	c.printer.add(cmd)
	f := cmd.Flags()
	f.StringVarP(&c.file, "file", "f", "", "read the request from this file, - for standard input")
	f.StringVar(&c.openapi, "openapi", "", "OpenAPI 3 document of the API, JSON or YAML")
	f.StringVar(&c.base, "base", "", "path of the API's root, instead of that of the document's servers")
	f.StringVar(&c.scheme, "scheme", "https", "how the gateway reaches the API, where the request does not say: http or https")
	f.BoolVar(&c.connect, "connect", false, "print the document of the session (stage session) first")
	return cmd
}

// inputHTTP is one call of the command.
type inputHTTP struct {
	who     whoFlags
	printer inputPrinter

	file, openapi, base, scheme string
	connect                     bool
}

// maxOpenAPI bounds an OpenAPI document, in bytes.
const maxOpenAPI = 32 << 20

func (c *inputHTTP) run(cmd *cobra.Command, args []string) error {
	if err := c.printer.check(); err != nil {
		return err
	}
	if c.scheme != "http" && c.scheme != "https" {
		return &usageError{fmt.Errorf("--scheme %q is neither http nor https", c.scheme)}
	}
	preview, err := c.preview(cmd)
	if err != nil {
		return err
	}
	message, forward, err := c.message(cmd, args)
	var docs []inputDocument
	if err == nil && c.connect {
		doc, err := documentOf("connect", "", preview.Open())
		if err != nil {
			return err
		}
		docs = append(docs, doc)
	}
	var in request.Incoming
	if err == nil {
		in, err = message.Incoming(c.scheme, forward)
	}
	if err != nil {
		return refusedByGateway(err)
	}
	if len(args) == 1 {
		in.Mode = "reverse"
	}
	document, err := preview.Request(in, message.Body)
	if err != nil {
		return refusedByGateway(err)
	}
	doc, err := documentOf("", message.Method+" "+message.Target, document)
	if err != nil {
		return err
	}
	return c.printer.print(cmd, append(docs, doc))
}

// refusedByGateway says that no policy would be asked.
func refusedByGateway(err error) error {
	var refusal *request.Refusal
	var denial *engine.Denial
	hint := ""
	switch {
	case errors.As(err, &refusal):
		hint = refusal.Hint
	case errors.As(err, &denial):
		hint = denial.Hint
	default:
		return err
	}
	if hint != "" {
		hint = ". " + hint
	}
	return fmt.Errorf("the gateway refuses this without asking a policy: %w%s", err, hint)
}

func (c *inputHTTP) preview(cmd *cobra.Command) (*httpproxy.Preview, error) {
	who, err := c.who.resolve(cmd, input.HTTP)
	if err != nil {
		return nil, err
	}
	pc := httpproxy.PreviewConfig{
		Target: who.target, Labels: who.labels, Identity: who.identity, Now: who.now,
		Client: httpproxy.Client{Address: c.who.address, Application: c.who.application, TLS: c.who.tls, Asserted: c.who.asserted},
	}
	if c.openapi != "" {
		document, err := readBounded(c.openapi, cmd.InOrStdin(), maxOpenAPI)
		if err != nil {
			return nil, fmt.Errorf("the OpenAPI document: %w", err)
		}
		if pc.Request.Routes, err = request.LoadRoutes(document, c.base); err != nil {
			return nil, fmt.Errorf("%s: %w", plainText(c.openapi), err)
		}
	}
	return httpproxy.NewPreview(pc)
}

// message is the request, and whether it is one to a forward proxy.
func (c *inputHTTP) message(cmd *cobra.Command, args []string) (*request.Message, bool, error) {
	if len(args) == 1 {
		if c.file != "" {
			return nil, false, &usageError{errors.New("the request is given twice: as a URL and with -f")}
		}
		m, err := request.FromURL("GET", args[0])
		if err != nil {
			return nil, false, &usageError{err}
		}
		return m, true, nil
	}
	name := c.file
	if name == "" {
		name = "-"
	}
	if name == "-" && (c.who.claims == "-" || c.openapi == "-") {
		return nil, false, &usageError{errors.New("only one thing can come from standard input")}
	}
	text, err := readBounded(name, cmd.InOrStdin(), 16<<20)
	if err != nil {
		return nil, false, fmt.Errorf("read the request: %w", err)
	}
	text = bytes.TrimSuffix(text, []byte("\n")) // of the file, not of the body
	m, err := request.ReadMessage(request.AsSent(text))
	if err != nil {
		return nil, false, err
	}
	return m, strings.Contains(m.Target, "://"), nil
}
