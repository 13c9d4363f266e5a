package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/sirupsen/logrus"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/postgres/handshake"
	"github.com/regate-dev/regate/proxies/postgres/upstream"
	"github.com/regate-dev/regate/proxies/postgres/wire"
)

// obligations are what this proxy can carry out.
var obligations = []string{"mask", "limit", "require_approval", "record"}

// open takes an agent from its token to its session and serves it.
func (s *Server) open(ctx context.Context, client *handshake.Client, t *target, token string, log logrus.FieldLogger) {
	refuse := func(err error) {
		var denial *engine.Denial
		var down *upstream.Error
		switch {
		case errors.As(err, &denial):
			r := denialReport(denial, true)
			client.Refuse(&handshake.Error{Code: r.Code, Reason: denial.Reason(), Message: r.Message, Hint: r.Hint})
		case errors.As(err, &down):
			log.WithError(err).Error("no connection to the target")
			client.Refuse(&handshake.Error{Code: down.Code(), Reason: down.Reason, Message: down.AgentMessage(), Hint: down.AgentHint()})
		default:
			log.WithError(err).Error("session refused")
			client.Refuse(nil)
		}
	}
	id, err := s.gate.Authenticate(ctx, token, t.Name)
	if err != nil {
		refuse(err)
		return
	}
	log = log.WithField("subject", id.Subject.ID)
	role, err := t.Role.of(id)
	if err != nil {
		refuse(&engine.Denial{Reasons: []string{ReasonNoRole}, Message: err.Error(), Hint: "Tell the gateway's operator."})
		return
	}
	database := t.Upstream.Database
	if database == "" {
		database = client.Database
	}
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	default:
		refuse(&engine.Denial{Reasons: []string{ReasonTooMany}, Message: "the target has no room for another connection", Hint: "Try again later."})
		return
	}
	manager := t.catalog(database)
	snapshot, err := manager.Get(ctx)
	if err != nil {
		refuse(catalogError(err))
		return
	}
	gate, err := s.gate.Open(ctx, hello(&t.Target, id, database, role, snapshot.ServerVersion, Client{
		Address: client.Conn.RemoteAddr().String(), Application: client.Application, TLS: client.TLS,
		Asserted: input.Asserted{Purpose: client.Asserted["purpose"], Ticket: client.Asserted["ticket"], Task: client.Asserted["task"], Step: client.Asserted["step"]},
	}))
	if err != nil {
		refuse(err)
		return
	}
	reason := "refused"
	defer func() { gate.Close(reason) }()
	login := t.Upstream
	login.Database = database
	up, err := upstream.Dial(ctx, login, role, client.Params)
	if err != nil {
		refuse(err)
		return
	}
	defer up.Close()
	ss, err := s.newSession(ctx, client, up, gate, t, database, role, log)
	if err != nil {
		refuse(err)
		return
	}
	defer ss.stop()
	pid, secret, err := s.register(ss, client.SecretSize())
	if err != nil {
		refuse(err)
		return
	}
	defer s.unregister(pid)
	if err := client.Welcome(shownStatus(up.Status), pid, secret, ss.tx); err != nil {
		log.WithError(err).Debug("the agent is gone")
		return
	}
	reason = ss.run()
}

// Client is an agent's end of a connection, and what it says of itself.
type Client struct {
	Address     string // IP and port
	Application string
	TLS         bool
	Asserted    input.Asserted
}

// hello says to the gate who connects to what. role is "" for regate's own
// login.
func hello(t *Target, id *identity.Identity, database, role, version string, from Client) engine.Hello {
	if role == "" {
		role = t.Upstream.User
	}
	return engine.Hello{
		Identity: id, Protocol: input.Postgres,
		Target:   input.Target{Name: t.Name, Protocol: input.Postgres, Labels: labels(t.Labels), Database: database, Role: role, Version: version},
		Client:   input.Client{Address: from.Address, Application: from.Application, TLS: from.TLS},
		Asserted: from.Asserted,
		Action:   input.NewPart(input.SQLAction{Verb: "connect", Verbs: []string{"connect"}}), Resource: connectResource(database),
		Detail:      input.NewPart(input.SQL{Command: "connect", Batch: input.SQLBatch{Size: 1}, Mode: "simple", SearchPath: []string{}, Statement: emptyStatement()}),
		Obligations: obligations,
	}
}

// newSession makes the session and asks the target how names resolve in it.
func (s *Server) newSession(ctx context.Context, client *handshake.Client, up *upstream.Conn, gate *engine.Session, t *target, database, role string, log logrus.FieldLogger) (*session, error) {
	fail, err := newFailName()
	if err != nil {
		return nil, err
	}
	ss := &session{
		srv: s, target: t, catalog: t.catalog(database), gate: gate, log: log.WithField("session", gate.ID()), role: role,
		client: client.Conn, cr: wire.NewReader(client.Conn, nil, s.maxMessage),
		up: up, ur: wire.NewReader(up, up.Buffered, s.maxAnswer),
		tx: up.TxStatus, failName: fail,
		statements: map[string]*statement{}, portals: map[string]*portal{},
	}
	ss.ctx, ss.stop = context.WithCancel(ctx)
	ss.uncut = context.WithoutCancel(ctx)
	if err := ss.askTruth(); err != nil {
		ss.stop()
		return nil, fmt.Errorf("open the session: %w", err)
	}
	// What the target said while it was asked is part of no answer.
	ss.out = ss.out[:0]
	return ss, nil
}

func catalogError(err error) error {
	var down *upstream.Error
	if errors.As(err, &down) {
		return down
	}
	return &engine.Denial{Reasons: []string{ReasonNoCatalog}, Message: "the target's catalogue cannot be read at present", Hint: "Try again in a few seconds; tell the gateway's operator if it lasts."}
}

func labels(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

func connectResource(database string) *input.Part {
	r := emptyResource("database")
	r.Names = []string{database}
	return input.NewPart(r)
}

// shownStatus is what the agent is told of the target's settings: not as whom
// regate has logged in.
func shownStatus(status map[string]string) map[string]string {
	out := make(map[string]string, len(status))
	for name, value := range status {
		switch name {
		case "session_authorization", "is_superuser":
			continue
		}
		out[name] = value
	}
	return out
}
