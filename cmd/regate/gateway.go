package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/sirupsen/logrus"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/approval"
	"github.com/regate-dev/regate/engine/config"
	"github.com/regate-dev/regate/engine/console"
	"github.com/regate-dev/regate/engine/console/web"
	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/labels"
	"github.com/regate-dev/regate/engine/mask"
	"github.com/regate-dev/regate/engine/pin"
	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/record"
	"github.com/regate-dev/regate/engine/state"
	"github.com/regate-dev/regate/engine/usage"
	httpproxy "github.com/regate-dev/regate/proxies/http"
	"github.com/regate-dev/regate/proxies/kubernetes"
	"github.com/regate-dev/regate/proxies/mcp"
	"github.com/regate-dev/regate/proxies/postgres"
)

// gateway is one running regate: everything that serve starts, in the order in
// which it is started. close undoes that in reverse.
type gateway struct {
	cfg     *config.Config
	log     *logrus.Logger
	started time.Time

	adminListener     net.Listener
	postgresListeners []postgres.Listener
	clusterListeners  []kubernetes.Listener
	httpListeners     []httpproxy.Listener
	mcpListeners      []mcp.Listener

	state       *state.State
	journal     *record.Journal
	recorder    *record.Recorder // nil where another gateway archives
	verifier    *identity.Verifier
	revocations *identity.Revocations
	policy      *policy.Engine
	approvals   *approval.Desk
	usage       *usage.Ledger
	tools       *pin.Store
	gate        *engine.Gate
	postgres    *postgres.Server
	kubernetes  *kubernetes.Server
	http        *httpproxy.Server
	mcp         *mcp.Server
	admin       *console.Console // nil when it is off
	pages       *web.Pages       // nil when the console is off
	metrics     *prometheus.Registry

	draining atomic.Bool
	serving  sync.WaitGroup
	undo     []func(context.Context) error
}

// onClose registers what close does, the last first.
func (g *gateway) onClose(what string, fn func(context.Context) error) {
	g.undo = append(g.undo, func(ctx context.Context) error {
		if err := fn(ctx); err != nil {
			return fmt.Errorf("close %s: %w", what, err)
		}
		return nil
	})
}

// close stops everything in reverse order.
func (g *gateway) close(ctx context.Context) error {
	var errs []error
	for i := len(g.undo) - 1; i >= 0; i-- {
		errs = append(errs, g.undo[i](ctx))
	}
	g.undo = nil
	return errors.Join(errs...)
}

// openGateway starts everything but serves nobody yet. After an error nothing
// is left running.
func openGateway(ctx context.Context, cfg *config.Config, log *logrus.Logger, takeover bool) (g *gateway, err error) {
	g = &gateway{cfg: cfg, log: log, started: time.Now(), metrics: prometheus.NewRegistry()}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.close(context.WithoutCancel(ctx)))
		}
	}()
	for _, step := range []func(context.Context) error{
		g.listen, g.openState, func(ctx context.Context) error { return g.openRecord(ctx, takeover) },
		g.openIdentity, g.openPolicy, g.openGate, g.openPostgres, g.openKubernetes, g.openHTTP, g.openMCP, g.openAdmin, g.registerMetrics,
	} {
		if err := step(ctx); err != nil {
			return g, err
		}
	}
	return g, nil
}

// listen opens all addresses first: two gateways on one port, or a certificate
// that cannot be read, show before anything is touched.
func (g *gateway) listen(ctx context.Context) error {
	var lc net.ListenConfig
	open := func(address string) (net.Listener, error) {
		ln, err := lc.Listen(ctx, "tcp", address)
		if err == nil {
			g.onClose("listener", func(context.Context) error { _ = ln.Close(); return nil })
		}
		return ln, err
	}
	for _, l := range g.cfg.Postgres.Listeners {
		front, err := postgresFront(g.cfg, l, g.log)
		if err != nil {
			return err
		}
		ln, err := open(l.Address)
		if err != nil {
			return err
		}
		g.postgresListeners = append(g.postgresListeners, postgres.Listener{
			Net: ln, Front: front, Targets: l.Targets, MaxConnections: l.Limits.MaxConnections,
		})
	}
	for _, l := range g.cfg.Kubernetes.Listeners {
		secure, err := listenerTLS(l.Address, l.TLS, g.log)
		if err != nil {
			return err
		}
		ln, err := open(l.Address)
		if err != nil {
			return err
		}
		g.clusterListeners = append(g.clusterListeners, kubernetes.Listener{Net: ln, TLS: secure, Targets: l.Targets})
	}
	for _, l := range g.cfg.HTTP.Listeners {
		secure, err := listenerTLS(l.Address, l.TLS, g.log)
		if err != nil {
			return err
		}
		ln, err := open(l.Address)
		if err != nil {
			return err
		}
		g.httpListeners = append(g.httpListeners, httpproxy.Listener{Net: ln, TLS: secure, Targets: l.Targets, Forward: l.Forward})
	}
	for _, l := range g.cfg.MCP.Listeners {
		secure, err := listenerTLS(l.Address, l.TLS, g.log)
		if err != nil {
			return err
		}
		ln, err := open(l.Address)
		if err != nil {
			return err
		}
		g.mcpListeners = append(g.mcpListeners, mcp.Listener{Net: ln, TLS: secure, Targets: l.Targets, Origins: l.Origins})
	}
	if !g.cfg.Admin.Enabled() {
		return nil
	}
	ln, err := open(g.cfg.Admin.Address)
	g.adminListener = ln
	return err
}

func (g *gateway) openState(ctx context.Context) (err error) {
	c := g.cfg.State
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("state.dir: %w", err)
	}
	g.state, err = state.Open(ctx, state.Options{
		Dir: filepath.Join(c.Dir, "nats"), URL: c.NATS.URL, CredentialsFile: c.NATS.CredentialsFile,
		Replicas: c.NATS.Replicas, Sync: c.Sync, Logger: g.log.WithField("component", "state"),
	})
	if err != nil {
		return err
	}
	g.onClose("state", g.state.Close)
	return nil
}

func (g *gateway) openRecord(ctx context.Context, takeover bool) error {
	c := g.cfg.Record
	key, err := receiptKey(g.cfg)
	if err != nil {
		return err
	}
	opts := record.JournalOptions{
		Gateway: c.Gateway, Key: key, MaxBytes: int64(c.Journal.MaxBytes),
		Replicas: g.cfg.State.NATS.Replicas, Version: readBuildInfo().Version, Logger: g.log.WithField("component", "journal"),
	}
	if g.cfg.State.NATS.URL != "" {
		opts.JetStream = g.state.JetStream()
	} else if err := g.openLog(&opts); err != nil {
		return err
	}
	if g.journal, err = record.OpenJournal(ctx, opts); err != nil {
		return err
	}
	if c.Recorder {
		err = g.openRecorder(ctx, key, takeover, opts)
	}
	// The journal closes before the recorder, which then takes the end of
	// every session along.
	g.onClose("journal", g.journal.Close)
	return err
}

// openLog opens the journal of a gateway that has no cluster: files beside the
// embedded store.
func (g *gateway) openLog(opts *record.JournalOptions) error {
	log, err := record.OpenLog(filepath.Join(g.cfg.State.Dir, "journal"), record.LogOptions{
		Sync: g.cfg.State.Sync == state.SyncAlways, Segment: min(record.SegmentBytes, int64(g.cfg.Record.Journal.MaxBytes)/16),
	})
	if err != nil {
		return err
	}
	g.onClose("log", func(context.Context) error { return log.Close() })
	opts.Log, opts.FreeBytes = log, g.state.FreeBytes
	return nil
}

func (g *gateway) openRecorder(ctx context.Context, key ed25519.PrivateKey, takeover bool, journal record.JournalOptions) error {
	c := g.cfg.Record
	bucket, settle, err := openArchive(ctx, c.Archive.URL)
	if err != nil {
		return err
	}
	g.onClose("archive", func(context.Context) error { return bucket.Close() })
	if err := os.MkdirAll(filepath.Dir(c.Index.Path), 0o700); err != nil {
		return fmt.Errorf("record.index: %w", err)
	}
	index, err := record.OpenIndex(c.Index.Path)
	if err != nil {
		return err
	}
	g.onClose("index", func(context.Context) error { return index.Close() })
	g.recorder, err = record.OpenRecorder(ctx, record.RecorderOptions{
		JetStream: journal.JetStream, Log: journal.Log, Name: c.RecorderName, Dir: filepath.Join(g.cfg.State.Dir, "spool"),
		Bucket: bucket, Settle: settle, Index: index, Key: key, Retention: retention(c.Retain), Takeover: takeover, Logger: g.log,
	})
	if err != nil {
		return err
	}
	g.onClose("recorder", func(ctx context.Context) error {
		// What is not archived by then stays in the journal for the next start.
		if err := g.recorder.Flush(ctx); err != nil {
			g.log.WithError(err).Warn("not everything is archived yet; the next start goes on")
		}
		return g.recorder.Close(ctx)
	})
	return nil
}

func retention(c config.Retain) record.Retention {
	r := record.Retention{Keep: c.Keep}
	for _, t := range c.Targets {
		r.Rules = append(r.Rules, record.RetentionRule{Target: t.Target, Keep: t.Keep})
	}
	return r
}

func (g *gateway) openIdentity(ctx context.Context) (err error) {
	c := identityConfig(g.cfg.Identity)
	c.Logger = g.log.WithField("component", "identity")
	// The verifier fetches keys until it is closed, not until the start ends.
	if g.verifier, err = identity.New(context.WithoutCancel(ctx), c); err != nil {
		return err
	}
	g.onClose("identity", func(context.Context) error { g.verifier.Close(); return nil })
	kv, err := g.state.KV(ctx, jetstream.KeyValueConfig{
		Bucket: "regate_revocations", Description: "regate: tokens, subjects, clients and targets that are cut off", History: 1,
	})
	if err != nil {
		return err
	}
	if g.revocations, err = identity.OpenRevocations(ctx, kv, nil); err != nil {
		return err
	}
	g.onClose("revocations", func(context.Context) error { g.revocations.Close(); return nil })
	return nil
}

func (g *gateway) openPolicy(ctx context.Context) error {
	c, err := policyConfig(g.cfg)
	if err != nil {
		return err
	}
	c.Logger = g.log.WithField("component", "policy")
	if g.policy, err = policy.New(ctx, c); err != nil {
		return err
	}
	g.onClose("policy", g.policy.Close)
	return nil
}

func (g *gateway) openGate(ctx context.Context) error {
	kv, err := g.state.KV(ctx, approval.Bucket(g.cfg.State.NATS.Replicas))
	if err != nil {
		return err
	}
	g.approvals, err = approval.Open(ctx, approval.Options{
		KV: kv, MaxOpen: g.cfg.Approval.MaxOpen, Logger: g.log.WithField("component", "approval"),
	})
	if err != nil {
		return err
	}
	g.onClose("approvals", func(context.Context) error { g.approvals.Close(); return nil })
	if kv, err = g.state.KV(ctx, usage.Bucket()); err != nil {
		return err
	}
	if g.usage, err = usage.Open(ctx, usage.Options{KV: kv, Logger: g.log.WithField("component", "usage")}); err != nil {
		return err
	}
	g.onClose("usage", g.usage.Close)
	if kv, err = g.state.KV(ctx, labels.Bucket(g.cfg.State.NATS.Replicas)); err != nil {
		return err
	}
	keyring, err := g.keyring()
	if err != nil {
		return err
	}
	g.gate, err = engine.New(engine.Config{
		Gateway: g.cfg.Record.Gateway, Verifier: g.verifier, Revocations: g.revocations, Policy: g.policy,
		Approvals: g.approvals, Journal: g.journal, Keyring: keyring, Usage: g.usage, Labels: labels.Open(kv, nil),
		BestEffort: g.cfg.Record.Mode == "best_effort", Logger: g.log.WithField("component", "gate"),
	})
	if err != nil {
		return err
	}
	g.onClose("gate", func(context.Context) error { g.gate.Close(); return nil })
	return nil
}

func (g *gateway) keyring() (*mask.Keyring, error) {
	key, err := maskKey(g.cfg)
	if err != nil {
		return nil, err
	}
	return mask.NewKeyring(key)
}

func (g *gateway) openPostgres(context.Context) error {
	targets, err := postgresTargets(g.cfg)
	if err != nil {
		return err
	}
	keyring, err := g.keyring()
	if err != nil {
		return err
	}
	c := g.cfg.Postgres
	conf := postgres.Config{
		Gate: g.gate, Keyring: keyring, Targets: targets,
		Reads:      func(path ...string) bool { return g.policy.Reads(input.Postgres, path...) },
		MaxMessage: int(c.MaxMessageBytes), MaxAnswer: int(c.MaxAnswerBytes),
		Logger: g.log.WithField("component", "postgres"),
	}
	conf.Analyze = analyzeOptions(g.cfg)
	g.postgres, err = postgres.New(conf)
	return err
}

func (g *gateway) openKubernetes(context.Context) error {
	targets, err := kubernetesTargets(g.cfg)
	if err != nil {
		return err
	}
	keyring, err := g.keyring()
	if err != nil {
		return err
	}
	g.kubernetes, err = kubernetes.New(kubernetes.Config{
		Gate: g.gate, Keyring: keyring, Targets: targets, MaxSessions: g.cfg.Kubernetes.MaxSessions,
		Reads:  func(path ...string) bool { return g.policy.Reads(input.Kubernetes, path...) },
		Logger: g.log.WithField("component", "kubernetes"),
	})
	return err
}

func (g *gateway) registerMetrics(context.Context) error {
	build := readBuildInfo()
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	all := []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		g.policy,
		g.gate.Collector(),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "regate_build_info", Help: "Always 1; the labels say what runs.",
			ConstLabels: prometheus.Labels{"version": build.Version, "revision": build.Revision, "go": build.Go},
		}, func() float64 { return 1 }),
		gauge("regate_approvals_open", "Requests that wait for approval or for their use.", func() float64 {
			return float64(len(g.approvals.List(approval.Filter{States: []approval.State{approval.Pending, approval.Approved}})))
		}),
		gauge("regate_usage_meters", "Subjects, actors and tasks whose use is counted.", func() float64 { return float64(g.usage.Meters()) }),
		gauge("regate_usage_known", "1 while what was used is known; while it is 0, policies on budgets deny.", func() float64 {
			if g.usage.Healthy() != nil {
				return 0
			}
			return 1
		}),
		gauge("regate_revocations", "Revocations in force.", func() float64 { return float64(len(g.revocations.List())) }),
		dependencyGauge{g.dependencies()},
		gauge("regate_journal_bytes", "What the journal holds that is not archived yet.", func() float64 { used, _ := g.journal.Bytes(); return float64(used) }),
		gauge("regate_journal_max_bytes", "At how much the journal is full.", func() float64 { _, full := g.journal.Bytes(); return float64(full) }),
	}
	if g.recorder != nil {
		all = append(all, gauge("regate_recorder_waiting_sessions", "Sessions that have ended and are not in the archive yet.", func() float64 { return float64(g.recorder.Waiting()) }))
	}
	for _, c := range all {
		if err := g.metrics.Register(c); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	return nil
}
