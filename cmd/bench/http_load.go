package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
}

// connections that are kept open at once.
const connections = 32

// httpFigures measures every way in turn, in each round.
func httpFigures(ctx context.Context, o options) ([]figure, error) {
	if err := elsewhere(); err != nil {
		return nil, err
	}
	fmt.Println("starting nginx, haproxy, goproxy, mitmproxy, an issuer and regate ...")
	h, err := startHTTP(ctx, o)
	if err != nil {
		return nil, err
	}
	defer h.stop()
	type sample struct{ rate, p50, p99, cpu []float64 }
	samples := map[string]*sample{}
	for range o.rounds {
		for _, w := range h.ways {
			r, err := h.load(ctx, w, time.Duration(o.seconds)*time.Second)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", w.name, err)
			}
			s := samples[w.name]
			if s == nil {
				s = &sample{}
				samples[w.name] = s
			}
			s.rate, s.p50, s.p99, s.cpu = append(s.rate, r.rate), append(s.p50, r.p50), append(s.p99, r.p99), append(s.cpu, r.cpu)
		}
	}
	fmt.Printf("\n1 KB of JSON, %d connections, proxy on one core; medians of %d rounds\n%-16s %10s %10s %10s %12s\n", connections, o.rounds, "", "requests/s", "p50 ms", "p99 ms", "CPU µs each")
	var figures []figure
	for _, w := range h.ways {
		s := samples[w.name]
		fmt.Printf("%-16s %10.0f %10.2f %10.2f %12.0f\n", w.name, median(s.rate), median(s.p50), median(s.p99), median(s.cpu))
		for _, f := range []struct {
			what, unit string
			values     []float64
		}{{"rate", "requests/s", s.rate}, {"p50", "ms", s.p50}, {"p99", "ms", s.p99}, {"cpu", "µs", s.cpu}} {
			figures = append(figures, figure{Name: "http/" + f.what, Value: median(f.values), Unit: f.unit, Peer: w.name})
		}
	}
	fmt.Printf("regate has %.2f of nginx's requests/s, and %.2f of those of goproxy's interception (by interception itself: %.2f)\n",
		paired(samples["regate"].rate, samples["nginx"].rate), paired(samples["regate"].rate, samples["goproxy"].rate), paired(samples["regate forward"].rate, samples["goproxy"].rate))
	for _, measure := range []func(context.Context) ([]figure, error){h.largeAnswer, h.eventLatency} {
		more, err := measure(ctx)
		if err != nil {
			return nil, err
		}
		figures = append(figures, more...)
	}
	return figures, nil
}

// loaded is what one run has shown.
type loaded struct{ rate, p50, p99, cpu float64 }

func (h *httpServers) load(ctx context.Context, w route, length time.Duration) (loaded, error) {
	ctx, cancel := context.WithTimeout(ctx, length+30*time.Second)
	defer cancel()
	var mu sync.Mutex
	var all []time.Duration
	var failed error
	before := 0.0
	if w.pid != 0 {
		var err error
		if before, err = cpu(w.pid); err != nil {
			return loaded{}, err
		}
	}
	began := time.Now()
	end := began.Add(length)
	var group sync.WaitGroup
	for range connections {
		group.Go(func() {
			took, err := w.talk(ctx, end)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
			if err != nil && failed == nil {
				failed = err
			}
		})
	}
	group.Wait()
	took := time.Since(began)
	if failed != nil || len(all) == 0 {
		return loaded{}, errors.Join(errors.New("no answer"), failed, ctx.Err())
	}
	slices.Sort(all)
	out := loaded{rate: float64(len(all)) / took.Seconds(), p50: float64(all[len(all)/2].Microseconds()) / 1000, p99: float64(all[len(all)*99/100].Microseconds()) / 1000}
	if w.pid != 0 {
		after, err := cpu(w.pid)
		if err != nil {
			return loaded{}, err
		}
		out.cpu = (after - before) * 1e6 / float64(len(all))
	}
	return out, nil
}

// open connects by a way, through its tunnel.
func (w route) open(ctx context.Context) (net.Conn, *bufio.Reader, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", w.address)
	if err != nil {
		return nil, nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if w.tunnel == "" {
		return conn, bufio.NewReader(conn), nil
	}
	auth := ""
	if w.token != "" {
		auth = "Proxy-Authorization: Bearer " + w.token + "\r\n"
	}
	if _, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", w.tunnel, w.tunnel, auth); err != nil {
		return nil, nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return nil, nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, nil, errors.New(resp.Status)
	}
	secure := tls.Client(conn, trust)
	return secure, bufio.NewReader(secure), secure.HandshakeContext(ctx)
}

// request is one GET of a path.
func (w route) request(path string) []byte {
	host, auth := w.tunnel, ""
	if host == "" {
		host = w.address
		if w.token != "" {
			path, auth = "/api"+path, "Authorization: Bearer "+w.token+"\r\n"
		}
	}
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", path, host, auth)
}

// talk asks again and again on one connection.
func (w route) talk(ctx context.Context, end time.Time) ([]time.Duration, error) {
	conn, r, err := w.open(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	request := w.request("/small.json")
	var took []time.Duration
	for len(took) == 0 || time.Now().Before(end) {
		began := time.Now()
		if _, err := conn.Write(request); err != nil {
			return took, err
		}
		if _, err := readAnswer(r, 900); err != nil {
			return took, err
		}
		took = append(took, time.Since(began))
	}
	return took, nil
}

func readAnswer(r *bufio.Reader, least int64) (int64, error) {
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || n < least) {
		err = fmt.Errorf("%s with %d bytes", resp.Status, n)
	}
	return n, err
}

// largeAnswer asks for 10 MB of JSON, masked and recorded.
func (h *httpServers) largeAnswer(ctx context.Context) ([]figure, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	conn, r, err := h.regate.open(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var rates, each []float64
	for range 5 {
		before, err := cpu(h.regate.pid)
		if err != nil {
			return nil, err
		}
		began := time.Now()
		if _, err := conn.Write(h.regate.request("/large.json")); err != nil {
			return nil, err
		}
		n, err := readAnswer(r, 8<<20)
		if err != nil {
			return nil, err
		}
		rates = append(rates, float64(n)/1e6/time.Since(began).Seconds())
		after, err := cpu(h.regate.pid)
		if err != nil {
			return nil, err
		}
		each = append(each, float64(n)/1e6/max(after-before, 0.01))
	}
	fmt.Printf("10 MB of JSON, masked and recorded: %.0f MB/s, %.0f MB for each second of CPU\n", median(rates), median(each))
	return []figure{{"http/masked", median(rates), "MB/s", "regate"}, {"http/masked-cpu", median(each), "MB/CPU-s", "regate"}}, nil
}

// eventLatency is how much later an event arrives through the gateway than it was
// sent.
func (h *httpServers) eventLatency(ctx context.Context) ([]figure, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+h.regate.address+"/events/", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+h.regate.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var late []float64
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		text, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var at int64
		if _, err := fmt.Sscanf(text, `{"sent":%d}`, &at); err != nil {
			return nil, fmt.Errorf("an event is %q: %w", text, err)
		}
		late = append(late, float64(time.Now().UnixNano()-at)/1e6)
	}
	if err := lines.Err(); err != nil || len(late) < 100 {
		return nil, errors.Join(fmt.Errorf("%d events", len(late)), err)
	}
	slices.Sort(late)
	fmt.Printf("server-sent events, masked and recorded: %.2f ms later, p99 %.2f ms\n", median(late), late[len(late)*99/100])
	return []figure{{"http/event", median(late), "ms", "regate"}, {"http/event-p99", late[len(late)*99/100], "ms", "regate"}}, nil
}

// serveEvents serves 300 events, 10 ms apart.
func serveEvents(ctx context.Context) (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for range 300 {
			if _, err := fmt.Fprintf(w, "data: {\"sent\":%d}\n\n", time.Now().UnixNano()); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	})}
	go func() { _ = server.Serve(l) }()
	context.AfterFunc(ctx, func() { _ = server.Close() })
	return l.Addr().(*net.TCPAddr).Port, nil
}
