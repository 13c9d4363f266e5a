package main

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/mcp"
	"github.com/regate-dev/regate/proxies/mcp/message"
)

func newInputMCPCmd() *cobra.Command {
	c := &inputMCP{}
	cmd := &cobra.Command{
		Use:   "mcp",
		Short: "Print the input document of an MCP message",
		Long: `Print the input document of a message of the Model Context Protocol, as the
gateway would make it: one JSON-RPC message from a file with -f, or from standard
input. A batch (revision 2025-03-26) gives a document for each of its messages.

With --tools the server's answer to tools/list is known: policies then see the
definition of the tool that is called, as an approved one.

What the gateway refuses without asking a policy is an error here.`,
		Example: `  regate input mcp -f call.json --target files --group developers
  echo '{"jsonrpc":"2.0","id":1,"method":"tools/list"}' | regate input mcp --revision 2025-11-25
  regate input mcp -f call.json --tools list.json --as-test --package regate.policies.acme.tools`,
		Args: wantNoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd) },
	}
	c.who.add(cmd)
	c.printer.add(cmd)
	f := cmd.Flags()
	f.StringVarP(&c.file, "file", "f", "", "read the message from this file, - for standard input")
	f.StringVar(&c.tools, "tools", "", "file with the server's answer to tools/list")
	f.StringVar(&c.revision, "revision", message.Version2025c, "the session's revision of the protocol, where the message does not say it")
	f.BoolVar(&c.connect, "connect", false, "print the document of the session (stage session) first")
	return cmd
}

// inputMCP is one call of the command.
type inputMCP struct {
	who     whoFlags
	printer inputPrinter

	file, tools, revision string
	connect               bool
}

func (c *inputMCP) run(cmd *cobra.Command) error {
	if err := c.printer.check(); err != nil {
		return err
	}
	if !message.Known(c.revision) {
		return &usageError{fmt.Errorf("--revision %q is none of %v", c.revision, message.Versions)}
	}
	name := c.file
	if name == "" {
		name = "-"
	}
	if name == "-" && (c.who.claims == "-" || c.tools == "-") {
		return &usageError{errors.New("only one thing can come from standard input")}
	}
	body, err := readBounded(name, cmd.InOrStdin(), message.MaxMessage)
	if err != nil {
		return fmt.Errorf("read the message: %w", err)
	}
	tools, err := c.known(cmd)
	if err != nil {
		return err
	}
	preview, err := c.preview(cmd, body)
	if err != nil {
		return err
	}
	var docs []inputDocument
	if c.connect {
		doc, err := documentOf("connect", "", preview.Open())
		if err != nil {
			return err
		}
		docs = append(docs, doc)
	}
	documents, err := preview.Messages(nil, body, tools)
	if err != nil {
		return refusedByGateway(err)
	}
	for _, document := range documents {
		doc, err := documentOf("", "", document)
		if err != nil {
			return err
		}
		docs = append(docs, doc)
	}
	return c.printer.print(cmd, docs)
}

// known are the tools of --tools, by name.
func (c *inputMCP) known(cmd *cobra.Command) (map[string]*message.Tool, error) {
	if c.tools == "" {
		return nil, nil
	}
	raw, err := readBounded(c.tools, cmd.InOrStdin(), message.MaxMessage)
	if err != nil {
		return nil, fmt.Errorf("read the tools: %w", err)
	}
	out, err := mcp.ReadTools(raw)
	if err != nil {
		return nil, fmt.Errorf("read the tools: %s: %w", plainText(c.tools), err)
	}
	return out, nil
}

func (c *inputMCP) preview(cmd *cobra.Command, body []byte) (*mcp.Preview, error) {
	who, err := c.who.resolve(cmd, input.MCP)
	if err != nil {
		return nil, err
	}
	pc := mcp.PreviewConfig{
		Target: who.target, Labels: who.labels, Identity: who.identity, Now: who.now, Version: c.revision,
		Client: mcp.Client{Address: c.who.address, Application: c.who.application, TLS: c.who.tls, Asserted: c.who.asserted},
	}
	if bytes.Contains(body, []byte("io.modelcontextprotocol/protocolVersion")) && !cmd.Flags().Changed("revision") {
		pc.Version = "" // the message says it
	}
	return mcp.NewPreview(pc)
}
