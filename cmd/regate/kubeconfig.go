package main

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

func newKubeconfigCmd() *cobra.Command {
	c := &kubeconfigFlags{}
	cmd := &cobra.Command{
		Use:   "kubeconfig CLUSTER...",
		Short: "Write a kubeconfig for clusters behind a gateway",
		Long: `Prints a kubeconfig with which kubectl, helm and every other client reach
clusters through a gateway. Each context is named after the cluster's target in
the gateway's configuration; the first is the current one.

There is no secret in it: clients call 'regate token --exec-credential' for a
token, with the token flags, profile or environment given here, and again when
it expires.`,
		Example: `  regate kubeconfig prod dev --server https://regate.example:8443 --gateway-ca-file ca.pem > ~/.kube/regate
  regate kubeconfig prod --server https://regate.example:8443 --profile me
  KUBECONFIG=~/.kube/regate kubectl get pods`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{errors.New("which cluster? name a kubernetes target of the gateway")}
			}
			return nil
		},
		RunE: c.run,
	}
	f := cmd.Flags()
	f.StringVar(&c.server, "server", "", "URL of the gateway's listener, e.g. https://regate.example:8443")
	f.StringVar(&c.ca, "gateway-ca-file", "", "PEM file with the authorities of the gateway's certificate; it is put into the kubeconfig")
	f.StringVarP(&c.namespace, "namespace", "n", "", "namespace of the contexts")
	f.StringVar(&c.command, "command", "regate", "the program that clients call for a token")
	c.token.add(f)
	return cmd
}

// kubeconfigFlags is one call of the command.
type kubeconfigFlags struct {
	server, ca, namespace, command string
	token                          tokenFlags
}

func (c *kubeconfigFlags) run(cmd *cobra.Command, clusters []string) error {
	base, err := url.Parse(c.server)
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" || base.RawQuery != "" || base.Fragment != "" || base.User != nil {
		return &usageError{errors.New("--server must be a URL like https://regate.example:8443")}
	}
	var authorities []byte
	if c.ca != "" {
		if authorities, err = os.ReadFile(c.ca); err != nil {
			return fmt.Errorf("--gateway-ca-file: %w", err)
		}
		if block, _ := pem.Decode(authorities); block == nil {
			return fmt.Errorf("--gateway-ca-file: %s holds no certificate", c.ca)
		}
	}
	config := api.NewConfig()
	config.CurrentContext = clusters[0]
	config.AuthInfos["regate"] = &api.AuthInfo{Exec: &api.ExecConfig{
		APIVersion: "client.authentication.k8s.io/v1", Command: c.command, Args: c.arguments(cmd.Flags()),
		InteractiveMode: api.IfAvailableExecInteractiveMode,
		InstallHint:     "regate must be in PATH: it gets the token for the gateway.",
	}}
	for _, name := range clusters {
		if name == "" || name != url.PathEscape(name) {
			return &usageError{fmt.Errorf("%q is not the name of a target", name)}
		}
		config.Clusters[name] = &api.Cluster{
			Server: strings.TrimSuffix(base.String(), "/") + "/clusters/" + name, CertificateAuthorityData: authorities,
		}
		config.Contexts[name] = &api.Context{Cluster: name, AuthInfo: "regate", Namespace: c.namespace}
	}
	text, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("write the kubeconfig: %w", err)
	}
	_, err = cmd.OutOrStdout().Write(text)
	return err
}

// arguments are those of the command that gets a token: every token flag that
// was given.
func (c *kubeconfigFlags) arguments(set *pflag.FlagSet) []string {
	out := []string{"token", "--exec-credential"}
	for _, name := range append([]string{tokenProfile, tokenFile}, tokenKeys...) {
		f := set.Lookup(name)
		if f == nil || !f.Changed {
			continue
		}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			for _, v := range list.GetSlice() {
				out = append(out, "--"+name+"="+v)
			}
			continue
		}
		out = append(out, "--"+name+"="+f.Value.String())
	}
	return out
}
