package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/kubernetes"
	"github.com/regate-dev/regate/proxies/kubernetes/request"
)

func newInputKubernetesCmd() *cobra.Command {
	c := &inputKubernetes{}
	cmd := &cobra.Command{
		Use:   "kubernetes",
		Short: "Print the input document of a Kubernetes API request",
		Long: `Print the input document of one request to the Kubernetes API, as the gateway
would make it. The request is read from a file with -f, or from standard input:
its request line, its headers, an empty line and its body, as HTTP/1.1 has them.
'kubectl -v=8' shows those of a command.

What the gateway refuses without asking a policy is an error here.`,
		Example: `  echo 'GET /api/v1/namespaces/default/secrets/db' | regate input kubernetes
  regate input kubernetes -f delete.http --group developers --label env=prod
  regate input kubernetes -f request.http --as-test --package regate.policies.acme.cluster`,
		Args: wantNoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd) },
	}
	c.who.add(cmd)
	c.printer.add(cmd)
	cmd.Flags().StringVarP(&c.file, "file", "f", "", "read the request from this file, - for standard input")
	cmd.Flags().BoolVar(&c.connect, "connect", false, "print the document of the session (stage session) first")
	return cmd
}

// inputKubernetes is one call of the command.
type inputKubernetes struct {
	who     whoFlags
	printer inputPrinter
	file    string
	connect bool
}

func (c *inputKubernetes) run(cmd *cobra.Command) error {
	if err := c.printer.check(); err != nil {
		return err
	}
	name := c.file
	if name == "" {
		name = "-"
	}
	if name == "-" && c.who.claims == "-" {
		return &usageError{errors.New("the request and the claims cannot both come from standard input")}
	}
	preview, err := c.preview(cmd)
	if err != nil {
		return err
	}
	text, err := readBounded(name, cmd.InOrStdin(), request.MaxBody+1<<20)
	if err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	raw, err := request.Read(text)
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
	document, err := preview.Request(raw)
	if err != nil {
		return refusedByGateway(err)
	}
	doc, err := documentOf("", raw.Method+" "+raw.Target, document)
	if err != nil {
		return err
	}
	return c.printer.print(cmd, append(docs, doc))
}

func (c *inputKubernetes) preview(cmd *cobra.Command) (*kubernetes.Preview, error) {
	who, err := c.who.resolve(cmd, input.Kubernetes)
	if err != nil {
		return nil, err
	}
	pc := kubernetes.PreviewConfig{
		Target: who.target, Labels: who.labels, Identity: who.identity, Now: who.now,
		Client: kubernetes.Client{Address: c.who.address, Application: c.who.application, TLS: c.who.tls, Asserted: c.who.asserted},
	}
	return kubernetes.NewPreview(pc), nil
}
