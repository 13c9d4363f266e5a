package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime/pprof"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/engine/config"
	"github.com/regate-dev/regate/engine/procs"
	httpproxy "github.com/regate-dev/regate/proxies/http"
	"github.com/regate-dev/regate/proxies/kubernetes"
	"github.com/regate-dev/regate/proxies/mcp"
	"github.com/regate-dev/regate/proxies/postgres"
)

const (
	// startTimeout bounds the start: opening the state, reading what is held
	// and revoked. It does not wait for issuers, bundle servers or targets.
	startTimeout = 60 * time.Second
	// cutTimeout is what running statements still have after the drain, and
	// cutNow what they have after a second signal.
	cutTimeout = 5 * time.Second
	cutNow     = 500 * time.Millisecond
	// closeTimeout bounds the flush of journal and archive.
	closeTimeout = 30 * time.Second
)

func newServeCmd() *cobra.Command {
	var file string
	var takeover, rollback bool
	var profile string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway in the foreground",
		Long: `Runs the gateway until SIGTERM or SIGINT. Then it accepts nobody any more,
waits for sessions to end by themselves as long as drain_timeout says, cuts
those that are left, flushes the journal and ends. A second signal cuts at once.

Health is at http://<admin.address>/healthz and /readyz, metrics at /metrics.`,
		Example: `  regate serve -c regate.yaml
  REGATE_LOG_FORMAT=json regate serve -c /etc/regate/regate.yaml
  regate serve -c regate.yaml --log-level debug --state-dir ./state`,
		Args: wantNoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, problems := config.Load(config.Options{File: configFile(file), Env: os.Environ(), Flags: cmd.Flags()})
			problems = append(problems, deepProblems(cfg, problems)...)
			if config.HasErrors(problems) {
				printProblems(cmd.ErrOrStderr(), problems)
				return errReported
			}
			if rollback { // before anybody else has seen the configuration
				for i := range cfg.Policy.Bundles {
					cfg.Policy.Bundles[i].AllowRollback = true
				}
			}
			log := newLogger(cfg.Log, cmd.ErrOrStderr())
			for _, p := range problems {
				log.WithField("id", p.ID).Warn(p.String())
			}
			signals := make(chan os.Signal, 2)
			signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
			defer signal.Stop(signals)

			ctx, cancel := context.WithTimeout(cmd.Context(), startTimeout)
			defer cancel()
			stop, err := startProfile(profile)
			if err != nil {
				return err
			}
			defer stop()
			g, err := openGateway(ctx, cfg, log, takeover)
			if err != nil {
				return fmt.Errorf("start: %w", err)
			}
			serving, served := context.WithCancel(cmd.Context())
			defer served()
			go procs.Follow(serving)
			return g.run(serving, signals)
		},
	}
	addConfigFlags(cmd, &file)
	cmd.Flags().StringVar(&profile, "cpu-profile", "", "write a CPU profile of the run to this file, for go tool pprof")
	cmd.Flags().BoolVar(&rollback, "allow-rollback", false, "take revisions of bundles that are older than those that were in force, as long as this process runs")
	cmd.Flags().BoolVar(&takeover, "recorder-takeover", false, "go on although the recorder's spool of another machine is lost, with the sessions in it that were not archived")
	return cmd
}

// run serves until a signal or a failure, then drains and closes.
func (g *gateway) run(ctx context.Context, signals <-chan os.Signal) error {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	failed := make(chan error, len(g.postgresListeners)+len(g.clusterListeners)+len(g.httpListeners)+len(g.mcpListeners)+1)
	for _, l := range g.postgresListeners {
		g.log.WithField("address", l.Net.Addr().String()).WithField("tls", l.Front.TLS != nil).Info("listening for PostgreSQL")
		g.serving.Go(func() {
			if err := g.postgres.Serve(ctx, l); err != nil && !errors.Is(err, postgres.ErrClosed) {
				failed <- fmt.Errorf("listener %s: %w", l.Net.Addr(), err)
			}
		})
	}
	for _, l := range g.clusterListeners {
		g.log.WithField("address", l.Net.Addr().String()).WithField("tls", l.TLS != nil).Info("listening for the Kubernetes API")
		g.serving.Go(func() {
			if err := g.kubernetes.Serve(ctx, l); err != nil && !errors.Is(err, kubernetes.ErrClosed) {
				failed <- fmt.Errorf("listener %s: %w", l.Net.Addr(), err)
			}
		})
	}
	for _, l := range g.httpListeners {
		what := "listening for HTTP"
		if l.Forward {
			what = "listening for HTTP, as a forward proxy"
		}
		g.log.WithField("address", l.Net.Addr().String()).WithField("tls", l.TLS != nil).Info(what)
		g.serving.Go(func() {
			if err := g.http.Serve(ctx, l); err != nil && !errors.Is(err, httpproxy.ErrClosed) {
				failed <- fmt.Errorf("listener %s: %w", l.Net.Addr(), err)
			}
		})
	}
	for _, l := range g.mcpListeners {
		g.log.WithField("address", l.Net.Addr().String()).WithField("tls", l.TLS != nil).Info("listening for MCP")
		g.serving.Go(func() {
			if err := g.mcp.Serve(ctx, l); err != nil && !errors.Is(err, mcp.ErrClosed) {
				failed <- fmt.Errorf("listener %s: %w", l.Net.Addr(), err)
			}
		})
	}
	adminCtx, stopAdmin := context.WithCancel(ctx)
	defer stopAdmin()
	if g.admin != nil {
		g.log.WithField("address", g.adminListener.Addr().String()).WithField("tls", g.cfg.Admin.TLS.Enabled()).Info("listening for administration")
		if g.pages != nil {
			g.log.WithField("url", g.consoleURL()).Info("the console is there")
		}
		g.serving.Go(func() {
			if err := g.serveAdmin(adminCtx); err != nil {
				failed <- err
			}
		})
	}
	g.log.WithField("version", readBuildInfo().Version).WithField("gateway", g.cfg.Record.Gateway).Info("regate is running")

	var cause error
	select {
	case s := <-signals:
		g.log.WithField("signal", s.String()).WithField("timeout", g.cfg.DrainTimeout.String()).Info("draining; a second signal cuts at once")
	case cause = <-failed:
		g.log.WithError(cause).Error("a listener failed; draining")
	}
	g.drain(ctx, signals)
	stopAdmin() // it served approvals and health until here
	g.serving.Wait()

	closing, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	if err := g.close(closing); err != nil {
		cause = errors.Join(cause, err)
	}
	g.log.Info("stopped")
	return cause
}

// drain closes the listeners, waits for sessions to end by themselves, then
// ends them.
func (g *gateway) drain(ctx context.Context, signals <-chan os.Signal) {
	g.draining.Store(true)
	for _, l := range g.postgresListeners {
		closeListener(l.Net)
	}
	hard, cut := context.WithCancel(ctx)
	defer cut()
	done := make(chan struct{})
	go func() {
		var proxies sync.WaitGroup
		proxies.Go(func() { g.postgres.Shutdown(hard) })
		proxies.Go(func() { g.kubernetes.Shutdown(hard) })
		proxies.Go(func() { g.http.Shutdown(hard) })
		proxies.Go(func() { g.mcp.Shutdown(hard) })
		proxies.Wait()
		close(done)
	}()
	drained := time.NewTimer(g.cfg.DrainTimeout)
	defer drained.Stop()
	left := cutTimeout
	select {
	case <-done:
		return
	case <-drained.C:
		g.log.WithField("sessions", len(g.gate.Live())).Warn("the drain timeout is over; ending the sessions that are left")
	case <-signals:
		g.log.WithField("sessions", len(g.gate.Live())).Warn("second signal; ending sessions at once")
		left = cutNow
	}
	g.gate.Close() // idle sessions are told why and end; what runs may finish
	grace := time.NewTimer(left)
	defer grace.Stop()
	select {
	case <-done:
		return
	case <-grace.C:
	case <-signals:
	}
	cut()
	<-done
}

func closeListener(l net.Listener) { _ = l.Close() }

// startProfile writes a CPU profile to path until stop is called; "" writes none.
func startProfile(path string) (stop func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close()
	}, nil
}
