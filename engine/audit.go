package engine

import (
	"context"
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/regate-dev/regate/engine/record"
)

// AuditEvent is something that happened to the gateway itself: a refused
// identity, an approval given, a revocation, a bundle activated.
type AuditEvent struct {
	Time    time.Time         `json:"time"`
	Action  string            `json:"action"`
	By      string            `json:"by,omitempty"` // subject of whoever did it
	Issuer  string            `json:"issuer,omitempty"`
	Target  string            `json:"target,omitempty"`
	Outcome string            `json:"outcome"` // "ok" or a reason id
	Detail  map[string]string `json:"detail,omitempty"`
}

// auditLog is a session of the gateway's own in the journal, opened with the
// first event. It is closed and opened anew when it gets long, so that no
// recording grows without end.
type auditLog struct {
	gate *Gate

	mu     sync.Mutex
	writer *record.Writer
	count  int
}

const auditRoll = 4096

func newAuditLog(g *Gate) *auditLog { return &auditLog{gate: g} }

// Audit records ev and returns when it is recorded; an error means that it is
// not, and in strict mode what it tells of must not happen.
func (g *Gate) Audit(ctx context.Context, ev AuditEvent) error {
	return g.recorded(ctx, g.audit.append(ev))
}

func (a *auditLog) note(_ context.Context, ev AuditEvent) { a.append(ev) }

func (a *auditLog) append(ev AuditEvent) *record.Ack {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ev.Time.IsZero() {
		ev.Time = a.gate.cfg.Clock()
	}
	raw, err := json.Marshal(ev)
	if err != nil {
		raw = []byte(`{"action":"unmarshalable"}`)
	}
	if a.writer != nil && a.count >= auditRoll {
		a.writer.Close("continued")
		a.writer = nil
	}
	if a.writer == nil {
		a.count = 0
		a.writer, _ = a.gate.cfg.Journal.Begin(record.Header{
			Protocol: "regate", Target: "gateway", Subject: a.gate.cfg.Gateway,
		})
	}
	a.count++
	return a.writer.Append(record.KindNote, record.Note{Code: ev.Action, Text: string(raw)}.Encode(nil))
}

func (a *auditLog) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.writer != nil {
		a.writer.Close("gateway stopped")
		a.writer = nil
	}
}

func discardLogger() logrus.FieldLogger {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return l
}
