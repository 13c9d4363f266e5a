package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// clients send requests at once.
const clients = 8

// compare does one kind of request by every way in turn.
func compare(ctx context.Context, o options, list []*clusterWay, w work) ([]figure, error) {
	cost, rate := map[string][]float64{}, map[string][]float64{}
	for round := range o.rounds + 1 {
		for _, p := range list {
			token := p.token
			if w.masked {
				if token = p.masked; token == "" {
					continue
				}
			}
			n := w.n
			if round == 0 { // connections, caches
				n = max(1, n/10)
			}
			spent, took, err := spentBy(p, func() error { return load(ctx, p, token, w, n) })
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.name, err)
			}
			if round > 0 {
				cost[p.name] = append(cost[p.name], spent*1000/float64(n))
				rate[p.name] = append(rate[p.name], float64(n)/took.Seconds())
			}
		}
	}
	var figures []figure
	fmt.Printf("%-24s", w.name)
	for _, p := range list {
		if len(rate[p.name]) == 0 {
			fmt.Printf(" %18s", "–")
			continue
		}
		figures = append(figures, figure{w.name + "_rate_" + p.name, median(rate[p.name]), "requests/s", ""})
		if p.pid == 0 {
			fmt.Printf(" %18s", fmt.Sprintf("– (%.0f)", median(rate[p.name])))
			continue
		}
		fmt.Printf(" %18s", fmt.Sprintf("%.2f (%.0f)", median(cost[p.name]), median(rate[p.name])))
		figures = append(figures, figure{w.name + "_cpu_" + p.name, median(cost[p.name]), "ms/request", ""})
	}
	if peer := cost["kubectl proxy"]; len(peer) > 0 {
		ratio := median(cost["regate"]) / median(peer)
		fmt.Printf("   regate is %.2f of kubectl proxy", ratio)
		figures = append(figures, figure{w.name + "_cpu", ratio, "ratio", "kubectl proxy"})
	}
	fmt.Println()
	return figures, nil
}

// spentBy returns the proxy's CPU seconds and the time that do takes.
func spentBy(p *clusterWay, do func() error) (spent float64, took time.Duration, err error) {
	before := 0.0
	if p.pid != 0 {
		if before, err = cpu(p.pid); err != nil {
			return 0, 0, err
		}
	}
	began := time.Now()
	if err := do(); err != nil {
		return 0, 0, err
	}
	took = time.Since(began)
	if p.pid != 0 {
		after, err := cpu(p.pid)
		if err != nil {
			return 0, 0, err
		}
		spent = after - before
	}
	return spent, took, nil
}

// load sends n requests from several clients.
func load(ctx context.Context, p *clusterWay, token string, w work, n int) error {
	client, err := p.client()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	var left atomic.Int64
	left.Store(int64(n))
	errs := make(chan error, clients)
	var wait sync.WaitGroup
	for range clients {
		wait.Go(func() {
			for left.Add(-1) >= 0 {
				if err := one(ctx, client, p, token, w); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wait.Wait()
	close(errs)
	return <-errs
}

func one(ctx context.Context, client *http.Client, p *clusterWay, token string, w work) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := ask(ctx, client, p, token, w)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return readUntil(resp.Body, w.until)
}

func ask(ctx context.Context, client *http.Client, p *clusterWay, token string, w work) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+w.path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", w.accept)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%s: %s", resp.Status, text)
	}
	return resp, nil
}

// watchMemory is what a proxy's memory grows by for each of 1,000 open watches.
func watchMemory(ctx context.Context, _ options, list []*clusterWay) ([]figure, error) {
	const open = 1000
	var figures []figure
	fmt.Printf("%-24s", "memory of a watch, KiB")
	for _, p := range list {
		if p.pid == 0 {
			fmt.Printf(" %18s", "–")
			continue
		}
		client, err := p.client()
		if err != nil {
			return nil, err
		}
		w := work{path: waiting, accept: "application/json"}
		// What the first ones need is not what each one needs.
		grow := func(n int, ctx context.Context) (float64, error) {
			for range n {
				resp, err := ask(ctx, client, p, p.token, w)
				if err != nil {
					return 0, fmt.Errorf("%s: watch: %w", p.name, err)
				}
				go func() { _, _ = io.Copy(io.Discard, resp.Body); _ = resp.Body.Close() }()
			}
			time.Sleep(3 * time.Second)
			return memory(p.pid)
		}
		watching, cancel := context.WithCancel(ctx)
		before, err := grow(20, watching)
		if err == nil {
			var after float64
			if after, err = grow(open, watching); err == nil {
				each := (after - before) * 1024 / open
				fmt.Printf(" %18.0f", each)
				figures = append(figures, figure{"watch_memory_" + p.name, each, "KiB", ""})
			}
		}
		cancel()
		client.CloseIdleConnections()
		if err != nil {
			return nil, err
		}
	}
	fmt.Println()
	return figures, nil
}

// execThroughput reads what a command writes, by kubectl exec.
func execThroughput(ctx context.Context, o options, list []*clusterWay) ([]figure, error) {
	const size = 64 << 20
	speed, cost := map[string][]float64{}, map[string][]float64{}
	for range o.rounds {
		for _, p := range list {
			args := []string{"--server=" + p.url, "--token=" + p.token, "--namespace=bench"}
			if p.caFile != "" {
				args = append(args, "--certificate-authority="+p.caFile)
			}
			args = append(args, "exec", "web-0", "--container=main", "--", "head", "-c", strconv.Itoa(size), "/dev/zero")
			var n counter
			spent, took, err := spentBy(p, func() error {
				cmd := exec.CommandContext(ctx, o.kubectl, args...)
				cmd.Env = []string{"HOME=" + o.dir, "KUBECONFIG=/dev/null"}
				var text strings.Builder
				cmd.Stdout, cmd.Stderr = &n, &text
				if err := cmd.Run(); err != nil {
					return fmt.Errorf("%w: %s", err, text.String())
				}
				return nil
			})
			if err == nil && n != size {
				err = fmt.Errorf("%d bytes of %d", n, size)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: exec: %w", p.name, err)
			}
			speed[p.name] = append(speed[p.name], size/1e6/took.Seconds())
			cost[p.name] = append(cost[p.name], spent*1000/(size/1e6))
		}
	}
	var figures []figure
	fmt.Printf("%-24s", "exec, CPU ms/MB (MB/s)")
	for _, p := range list {
		fmt.Printf(" %18s", fmt.Sprintf("%.2f (%.0f)", median(cost[p.name]), median(speed[p.name])))
		figures = append(figures, figure{"exec_" + p.name, median(speed[p.name]), "MB/s", ""})
		if p.pid != 0 {
			figures = append(figures, figure{"exec_cpu_" + p.name, median(cost[p.name]), "ms/MB", ""})
		}
	}
	fmt.Println()
	return figures, nil
}

// counter counts what is written to it.
type counter int

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
