package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/regate-dev/regate/proxies/kubernetes/kubetest"
)

// recording is one answer of the API server.
type recording struct {
	Target string // path and query
	Accept string
	Type   string // media type of the answer
	Body   []byte
}

// key is the same however a proxy orders the query.
func (r recording) key() string {
	path, query, _ := strings.Cut(r.Target, "?")
	values, _ := url.ParseQuery(query)
	return path + "?" + values.Encode() + " " + r.Accept
}

// recordAnswers keeps what the API server answers to each kind of request.
func recordAnswers(ctx context.Context, client *http.Client, base, file string) error {
	var all []recording
	seen := map[string]bool{}
	for _, w := range works {
		r := recording{Target: w.path, Accept: w.accept}
		if seen[r.key()] {
			continue
		}
		seen[r.key()] = true
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+w.path, nil)
		if err != nil {
			return err
		}
		req.Header.Set("Accept", w.accept)
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		var body bytes.Buffer
		err = readUntil(io.TeeReader(resp.Body, &body), w.until)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			return fmt.Errorf("GET %s: %s, %w", w.path, resp.Status, err)
		}
		r.Type, r.Body = resp.Header.Get("Content-Type"), body.Bytes()
		all = append(all, r)
	}
	raw, err := json.Marshal(all)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, raw, 0o600)
}

// readUntil reads to the end of the line that holds the text until, or all where
// that is "".
func readUntil(r io.Reader, until string) error {
	if until == "" {
		_, err := io.Copy(io.Discard, r)
		return err
	}
	buf := make([]byte, 64<<10)
	keep := 0 // bytes of the last piece at the front of buf
	found := false
	for {
		n, err := r.Read(buf[keep:])
		piece := buf[:keep+n]
		if !found {
			if i := bytes.Index(piece, []byte(until)); i >= 0 {
				found, piece = true, piece[i:]
			}
		}
		if found && bytes.IndexByte(piece, '\n') >= 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the answer ended before %q: %w", until, err)
		}
		keep = copy(buf, piece[max(0, len(piece)-len(until)):])
	}
}

// child is a server that is this program started anew, so that its CPU time is
// its own.
type child struct {
	url, caFile string
	cmd         *exec.Cmd
}

func (c *child) stop() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// startCanned starts a server that answers as was recorded.
func startCanned(ctx context.Context, dir, recorded string) (*child, error) {
	return startChild(ctx, dir, "canned", recorded)
}

// startReverseProxy starts a plain reverse proxy of the standard library.
func startReverseProxy(ctx context.Context, dir string, up upstream) (*child, error) {
	return startChild(ctx, dir, "reverse-proxy", up.url, up.caFile, up.token)
}

func startChild(ctx context.Context, dir, kind string, args ...string) (*child, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{url: fmt.Sprintf("https://127.0.0.1:%d", port), caFile: filepath.Join(dir, kind+".pem")}
	if err := kubetest.WriteServerCertificate(c.caFile); err != nil {
		return nil, err
	}
	c.cmd = exec.Command(self, append([]string{"serve-" + kind, fmt.Sprintf("127.0.0.1:%d", port), c.caFile}, args...)...)
	c.cmd.Stderr = os.Stderr
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	if err := await(ctx, kind, dialable(port)); err != nil {
		c.stop()
		return nil, err
	}
	return c, nil
}

// serveChild is what such a child does. It is false where the arguments are not
// those of one.
func serveChild(args []string) (bool, error) {
	if len(args) < 4 || !strings.HasPrefix(args[0], "serve-") {
		return false, nil
	}
	var handler http.Handler
	var err error
	switch args[0] {
	case "serve-canned":
		handler, err = cannedHandler(args[3])
	case "serve-reverse-proxy":
		if len(args) != 6 {
			return true, errors.New("serve-reverse-proxy ADDRESS CERTIFICATE URL AUTHORITY TOKEN")
		}
		handler, err = reverseProxy(args[3], args[4], args[5])
	default:
		return false, nil
	}
	if err != nil {
		return true, err
	}
	server := &http.Server{Addr: args[1], Handler: handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	return true, server.ListenAndServeTLS(args[2], args[2])
}

func cannedHandler(file string) (http.Handler, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var all []recording
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, err
	}
	byKey := map[string]recording{}
	for _, r := range all {
		byKey[r.key()] = r
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		watch := r.URL.Query().Has("watch")
		found, ok := byKey[recording{Target: r.URL.RequestURI(), Accept: r.Header.Get("Accept")}.key()]
		switch {
		case ok:
			w.Header().Set("Content-Type", found.Type)
			if !watch {
				w.Header().Set("Content-Length", fmt.Sprint(len(found.Body)))
			}
			_, _ = w.Write(found.Body)
		case r.URL.Path == "/version":
			_, _ = w.Write([]byte(`{"gitVersion":"v1.37.2"}`))
			return
		case !watch:
			http.NotFound(w, r)
			return
		}
		if watch {
			w.Header().Set("Content-Type", "application/json")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	}), nil
}

func reverseProxy(base, caFile, token string) (http.Handler, error) {
	to, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(raw)
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Header.Set("Authorization", "Bearer "+token)
		},
		FlushInterval: -1,
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true, DisableCompression: true, MaxIdleConnsPerHost: 100,
		},
	}, nil
}
