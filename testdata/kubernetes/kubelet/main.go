// Command kubelet is the part of a kubelet that the API server talks to: exec,
// attach, logs and ports of containers, on the kubelet's own streaming code.
// There are no containers: exec runs the command as it is on this machine, on a
// terminal where one is asked for; attach echoes its input; logs come from a
// file, and with follow what is appended to it; a port is one of 127.0.0.1.
//
// It answers nobody but the API server, whose client certificate it demands.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

func main() {
	address := flag.String("address", "127.0.0.1:0", "where the API server connects")
	cert := flag.String("cert", "", "PEM file with certificate and key")
	ca := flag.String("client-ca", "", "PEM file; the API server's certificate is signed by it")
	logs := flag.String("logs", "", "folder with namespace/pod/container.log")
	flag.Parse()
	pair, err := tls.LoadX509KeyPair(*cert, *cert)
	if err != nil {
		log.Fatal(err)
	}
	raw, err := os.ReadFile(*ca)
	if err != nil {
		log.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(raw) {
		log.Fatal("no certificate in ", *ca)
	}
	server := &http.Server{
		Addr: *address, Handler: kubelet{logs: *logs}, ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, NextProtos: []string{"http/1.1"}},
	}
	log.Fatal(server.ListenAndServeTLS("", ""))
}

type kubelet struct{ logs string }

// protocols are those of the kubelet.
var protocols = []string{remotecommand.StreamProtocolV4Name, remotecommand.StreamProtocolV3Name, remotecommand.StreamProtocolV2Name, remotecommand.StreamProtocolV1Name}

// ServeHTTP implements http.Handler: /exec/{namespace}/{pod}/{container} and its
// kin.
func (k kubelet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if parts[0] == "portForward" && len(parts) >= 3 {
		ports, err := portforward.NewV4Options(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		portforward.ServePortForward(w, r, k, parts[2], "", ports, time.Hour, 30*time.Second, []string{portforward.ProtocolV1Name})
		return
	}
	if len(parts) < 4 {
		http.NotFound(w, r)
		return
	}
	what, namespace, pod, container := parts[0], parts[1], parts[2], parts[len(parts)-1]
	if what == "containerLogs" {
		k.serveLogs(w, r, filepath.Join(k.logs, filepath.Base(namespace), filepath.Base(pod), filepath.Base(container)+".log"))
		return
	}
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch what {
	case "exec":
		remotecommand.ServeExec(w, r, k, pod, "", container, r.URL.Query()["command"], options, time.Hour, 30*time.Second, protocols)
	case "attach":
		remotecommand.ServeAttach(w, r, k, pod, "", container, options, time.Hour, 30*time.Second, protocols)
	default:
		http.NotFound(w, r)
	}
}

// ExecInContainer runs a command here.
func (kubelet) ExecInContainer(ctx context.Context, _, _, container string, command []string, in io.Reader, out, errs io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize, _ time.Duration) error {
	go func() {
		for range resize { // there is no terminal to resize
		}
	}()
	if tty { // script gives it a terminal
		var line []string
		for _, word := range command {
			line = append(line, "'"+strings.ReplaceAll(word, "'", `'\''`)+"'")
		}
		command = []string{"script", "-qefc", strings.Join(line, " "), "/dev/null"}
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "CONTAINER=" + container, "TERM=xterm", "SHELL=/bin/sh", "PS1=$ "}
	cmd.WaitDelay = time.Second
	cmd.Stdin, cmd.Stdout = in, out
	if cmd.Stderr = errs; tty || errs == nil {
		cmd.Stderr = out
	}
	err := cmd.Run()
	if e, ok := err.(*exec.ExitError); ok && e.Exited() {
		return utilexec.CodeExitError{Err: err, Code: e.ExitCode()}
	}
	return err
}

// AttachContainer echoes line by line.
func (kubelet) AttachContainer(_ context.Context, _, _, _ string, in io.Reader, out, _ io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize) error {
	if in == nil {
		return nil
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if _, err := fmt.Fprintf(out, "echo %s\n", lines.Text()); err != nil {
			return err
		}
	}
	return lines.Err()
}

// PortForward connects a stream with a port.
func (kubelet) PortForward(ctx context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	if err != nil {
		return err
	}
	defer conn.Close()
	go func() {
		_, _ = io.Copy(conn, stream)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(stream, conn)
	return err
}

// serveLogs answers with a file, and with follow=true goes on with what is
// appended to it.
func (kubelet) serveLogs(w http.ResponseWriter, r *http.Request, name string) {
	f, err := os.Open(name)
	if err != nil {
		http.Error(w, "no log", http.StatusNotFound)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "text/plain")
	for {
		if _, err := io.Copy(w, f); err != nil || r.URL.Query().Get("follow") != "true" {
			return
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}
