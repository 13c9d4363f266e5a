package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	httpproxy "github.com/regate-dev/regate/proxies/http"
)

func newCACmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "The authority for intercepted TLS",
		Long: `The forward proxy decides on each request, so it ends an agent's TLS itself, under
a certificate that it signs on the spot. These commands make the authority that
signs, and say how agents come to trust it. Who has its key can pose as any host
to those agents: give it to the gateway alone, and the certificate to agents
alone.`,
		Example: `  regate ca create --dir /etc/regate/ca
  regate ca trust --dir /etc/regate/ca --proxy http://gateway:3128
  regate ca rotate --dir /etc/regate/ca`,
		Args: wantNoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCACreateCmd(), newCARotateCmd(), newCAExportCmd(), newCATrustCmd())
	return cmd
}

// The files of an authority in its folder.
const (
	caCertFile = "ca.pem"      // of the authority that signs
	caKeyFile  = "ca-key.pem"  // its private key
	caAllFile  = "trusted.pem" // what agents trust: this authority and those before it
)

// caFlags are of all commands below `regate ca`.
type caFlags struct{ dir string }

func (c *caFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.dir, "dir", "ca", "folder with the authority's files")
}

func (c *caFlags) path(name string) string { return filepath.Join(c.dir, name) }

func newCACreateCmd() *cobra.Command {
	var c caFlags
	var name string
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make the authority",
		Long: `Make an authority: an ECDSA key that only its owner can read, and a certificate that
is good for two years. An authority that is there already stays: see rotate.`,
		Example: `  regate ca create --dir /etc/regate/ca --name "regate staging"`,
		Args:    wantNoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := os.Lstat(c.path(caKeyFile)); err == nil {
				return fmt.Errorf("%s is there already: 'regate ca rotate' makes a new one", plainText(c.path(caKeyFile)))
			}
			if err := os.MkdirAll(c.dir, 0o700); err != nil {
				return err
			}
			cert, err := c.make(name)
			if err != nil {
				return err
			}
			if err := writePublic(c.path(caAllFile), cert); err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "%s\n", plainText(describeCA(cert)))
			fmt.Fprintf(out, "Give the gateway:\n\n  http:\n    forward:\n      ca_cert: %s\n      ca_key: %s\n\nand agents %s: see 'regate ca trust'.\n",
				plainText(c.path(caCertFile)), plainText(c.path(caKeyFile)), plainText(c.path(caAllFile)))
			return nil
		},
	}
	c.add(cmd)
	cmd.Flags().StringVar(&name, "name", "regate", "the authority's name, as agents' tools show it")
	return cmd
}

// make writes a new authority's key and certificate, and returns the latter.
func (c *caFlags) make(name string) ([]byte, error) {
	cert, key, err := httpproxy.NewAuthority(name, time.Now())
	if err != nil {
		return nil, err
	}
	// The key first: a certificate without one is noticed.
	if err := writePrivate(c.path(caKeyFile), key); err != nil {
		return nil, err
	}
	return cert, writePublic(c.path(caCertFile), cert)
}

func newCARotateCmd() *cobra.Command {
	var c caFlags
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Make a new authority in place of the old one",
		Long: `Make a new authority of the same name. trusted.pem then holds the certificates of
both, so that agents that get it before the gateway is restarted trust the one as
well as the other. What has expired is left out of it.`,
		Example: `  regate ca rotate --dir /etc/regate/ca`,
		Args:    wantNoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			old, err := os.ReadFile(c.path(caCertFile))
			if err != nil {
				return fmt.Errorf("the authority: %w. 'regate ca create' makes one", err)
			}
			before, err := parseCA(old)
			if err != nil {
				return fmt.Errorf("%s: %w", plainText(c.path(caCertFile)), err)
			}
			trusted, err := os.ReadFile(c.path(caAllFile))
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			keep := stillGood(append(trusted, old...), time.Now())
			cert, err := c.make(before.Subject.CommonName)
			if err != nil {
				return err
			}
			if err := writePublic(c.path(caAllFile), append(cert, keep...)); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s\nGive agents the new %s first, then restart the gateway.\n", plainText(describeCA(cert)), plainText(c.path(caAllFile)))
			return nil
		},
	}
	c.add(cmd)
	return cmd
}

// stillGood keeps each certificate that has not expired, once.
func stillGood(bundle []byte, now time.Time) []byte {
	var out []byte
	seen := map[string]bool{}
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil || now.After(cert.NotAfter) || seen[string(block.Bytes)] {
			continue
		}
		seen[string(block.Bytes)] = true
		out = append(out, pem.EncodeToMemory(block)...)
	}
	return out
}

func newCAExportCmd() *cobra.Command {
	var c caFlags
	var file string
	cmd := &cobra.Command{
		Use:     "export",
		Short:   "Print the certificates that agents trust",
		Long:    `Print the certificates, as PEM, or write them to a file. Never the key.`,
		Example: "  regate ca export --dir /etc/regate/ca > regate-ca.pem\n  regate ca export --dir /etc/regate/ca -f regate-ca.pem",
		Args:    wantNoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			trusted, err := c.trusted()
			if err != nil {
				return err
			}
			if file != "" {
				return writePublic(file, trusted)
			}
			_, err = cmd.OutOrStdout().Write(trusted)
			return err
		},
	}
	c.add(cmd)
	cmd.Flags().StringVarP(&file, "file", "f", "", "write to this file")
	return cmd
}

func (c *caFlags) trusted() ([]byte, error) {
	trusted, err := os.ReadFile(c.path(caAllFile))
	if errors.Is(err, os.ErrNotExist) {
		trusted, err = os.ReadFile(c.path(caCertFile))
	}
	if err != nil {
		return nil, fmt.Errorf("the authority: %w. 'regate ca create' makes one", err)
	}
	// Whatever else is in the file, no key gets out.
	if good := stillGood(trusted, time.Now()); len(good) > 0 {
		return good, nil
	}
	return nil, fmt.Errorf("%s holds no certificate that has not expired", plainText(c.path(caAllFile)))
}

func newCATrustCmd() *cobra.Command {
	var c caFlags
	var proxy string
	cmd := &cobra.Command{
		Use:     "trust",
		Short:   "Say how each runtime trusts the authority and uses the proxy",
		Long:    `Print what to set for curl, Python, Node, Go, Java and others. Nothing is changed.`,
		Example: `  regate ca trust --dir /etc/regate/ca --proxy http://gateway:3128`,
		Args:    wantNoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := c.trusted(); err != nil {
				return err
			}
			path, err := filepath.Abs(c.path(caAllFile))
			if err != nil {
				return err
			}
			return printTrust(cmd.OutOrStdout(), plainText(path), plainText(proxy))
		},
	}
	c.add(cmd)
	cmd.Flags().StringVar(&proxy, "proxy", "http://127.0.0.1:3128", "the forward proxy's address")
	return cmd
}

func printTrust(w io.Writer, ca, proxy string) error {
	withToken := strings.Replace(proxy, "://", "://agent:$REGATE_TOKEN@", 1)
	_, err := fmt.Fprintf(w, `The agent's token is the password of the proxy; the user does not matter.

export HTTPS_PROXY="%[2]s" HTTP_PROXY="%[2]s" NO_PROXY=localhost,127.0.0.1

curl            curl --cacert %[1]s --proxy "%[2]s" https://…
                export CURL_CA_BUNDLE=%[1]s
Python          export REQUESTS_CA_BUNDLE=%[1]s SSL_CERT_FILE=%[1]s
Node            export NODE_EXTRA_CA_CERTS=%[1]s NODE_USE_ENV_PROXY=1      # Node 24; before it, undici's ProxyAgent
Go              export SSL_CERT_FILE=%[1]s
Java            keytool -importcert -noprompt -alias regate -file %[1]s -keystore regate.jks -storepass changeit
                java -Djavax.net.ssl.trustStore=regate.jks -Dhttps.proxyHost=… -Dhttps.proxyPort=…
git             git config http.sslCAInfo %[1]s
Debian          cp %[1]s /usr/local/share/ca-certificates/regate.crt && update-ca-certificates
`, ca, withToken)
	return err
}

func parseCA(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it holds no certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

func describeCA(text []byte) string {
	cert, err := parseCA(text)
	if err != nil {
		return "the authority cannot be read: " + err.Error()
	}
	return fmt.Sprintf("authority %s, good until %s, SHA-256 %x", cert.Subject.CommonName, cert.NotAfter.UTC().Format(time.DateOnly), sha256.Sum256(cert.Raw))
}

// writePrivate writes a file that only its owner can read, as a whole or not at
// all.
func writePrivate(name string, text []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), ".regate-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(text)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), name)
}

func writePublic(name string, text []byte) error {
	return writeWhole(name, func(f *os.File) error {
		_, err := f.Write(text)
		return err
	})
}
