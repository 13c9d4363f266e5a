package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/proxies/kubernetes/replay"
	"github.com/regate-dev/regate/proxies/kubernetes/request"
)

// A portforward carries any number of connections to ports of a pod. Each has
// two SPDY streams, one for data and one for an error, whose headers name the
// port: it is not known before. So the portforward itself is decided without
// ports, and then each connection as a request of its own.

const (
	// maxConnections are those at once of one portforward.
	maxConnections = 256
	// maxPortError bounds what the API server says of a connection that failed, in
	// bytes.
	maxPortError = 64 << 10
)

// ports is one portforward.
type ports struct {
	server   *Server
	ctx      context.Context
	session  *session
	request  *request.Request
	agent    httpstream.Connection
	upstream httpstream.Connection

	mu      sync.Mutex
	waiting map[string]*pair // by the agent's number of it; whose streams are not both there
	open    int
	running sync.WaitGroup
	ids     atomic.Int64
	bytes   atomic.Int64
}

// pair are the agent's streams of one connection.
type pair struct {
	data, err httpstream.Stream
	port      uint16
}

// forwardPorts carries a portforward that the gate has allowed.
func (s *Server) forwardPorts(ctx context.Context, w http.ResponseWriter, hr *http.Request, session *session, t *target, turn *engine.Turn, r *request.Request, socket *websocket.Conn) {
	failed := func(message string) {
		turn.Done(engine.Outcome{Code: request.ReasonUpgrade, Message: message})
	}
	socket.SetReadLimit(maxMessage + 8)
	upstream, err := spdy.NewClientConnection(portforward.NewTunnelingConnection("upstream", socket))
	if err != nil {
		deny(w, s.unreachable(ctx, session, t, turn, err))
		return
	}
	defer upstream.Close()
	p := &ports{server: s, session: session, request: r, upstream: upstream, waiting: map[string]*pair{}}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p.ctx = ctx

	var raw net.Conn
	ready := make(chan struct{}) // p.agent is there
	opened := func(stream httpstream.Stream, _ <-chan struct{}) error {
		<-ready
		return p.opened(stream)
	}
	if r.Action.Upgrade == "spdy" {
		p.agent, raw, err = upgradeSPDY(w, hr, forwardSPDY, opened)
	} else {
		var conn *websocket.Conn
		if conn, err = upgradeSocket(w, hr, forwardSocket[0]); err == nil {
			raw = conn.NetConn()
			p.agent, err = spdy.NewServerConnection(tunnel(conn), opened)
		}
	}
	if err != nil { // it has been answered
		failed("the agent's upgrade failed")
		return
	}
	close(ready)
	defer cutWhenDone(ctx, func() { _ = raw.Close() })()
	defer p.agent.Close()

	var outcome engine.Outcome
	select {
	case <-p.agent.CloseChan():
		outcome.Tag = "ended"
	case <-upstream.CloseChan():
		outcome.Code, outcome.Message = ReasonTruncated, "the API server ended the stream"
	case <-ctx.Done():
		outcome.Code, outcome.Message, outcome.Cancelled = ReasonTruncated, "the stream was cut", true
		if why := session.Ended(); why != nil {
			outcome.Code, outcome.Message = why.Reason(), why.Message
		}
	}
	cancel()
	_ = raw.SetWriteDeadline(time.Now().Add(closeTime))
	_ = p.agent.Close()
	_ = upstream.Close()
	p.running.Wait()
	outcome.Bytes = p.bytes.Load()
	turn.Done(outcome)
}

// tunnel is a WebSocket as the connection of SPDY frames.
func tunnel(conn *websocket.Conn) net.Conn {
	through := portforward.NewTunnelingConnection("agent", conn)
	return &framed{Conn: through, from: through}
}

// opened takes a stream that the agent opens. An error refuses it.
func (p *ports) opened(stream httpstream.Stream) error {
	h := stream.Headers()
	port, err := strconv.ParseUint(h.Get(corev1.PortHeader), 10, 16)
	if err != nil || port == 0 {
		return fmt.Errorf("%q is no port", shorten(h.Get(corev1.PortHeader)))
	}
	id := h.Get(corev1.PortForwardRequestIDHeader)
	kind := h.Get(corev1.StreamType)
	if id == "" || len(id) > 64 || kind != corev1.StreamTypeData && kind != corev1.StreamTypeError {
		return errors.New("a stream does not say what it is for")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.waiting[id]
	if one == nil {
		if p.open >= maxConnections {
			return errors.New("there are too many connections")
		}
		p.open++
		one = &pair{port: uint16(port)}
		p.waiting[id] = one
	}
	switch {
	case one.port != uint16(port):
		return errors.New("the streams of a connection name two ports")
	case kind == corev1.StreamTypeData && one.data == nil:
		one.data = stream
	case kind == corev1.StreamTypeError && one.err == nil:
		one.err = stream
	default:
		return errors.New("a connection has a stream twice")
	}
	if one.data != nil && one.err != nil {
		delete(p.waiting, id)
		if p.ctx.Err() != nil {
			return p.ctx.Err()
		}
		p.running.Go(func() {
			p.connection(one)
			p.agent.RemoveStreams(one.data, one.err)
			p.mu.Lock()
			p.open--
			p.mu.Unlock()
		})
	}
	return nil
}

// connection decides one connection and carries it.
func (p *ports) connection(one *pair) {
	defer one.data.Close()
	defer one.err.Close()
	refuse := func(d *engine.Denial) {
		_, _ = io.WriteString(one.err, statusOf(d).Message)
		_ = one.err.Close()
		_ = one.data.Reset()
	}
	r := *p.request
	r.Detail.Ports = []int64{int64(one.port)}
	r.Detail.Text = r.Summary()
	turn, err := p.session.Request(p.ctx, ask(&r))
	if err != nil {
		refuse(asDenial(err))
		return
	}
	if _, err := p.server.streamMasker(p.ctx, turn, &r); err != nil {
		d := asDenial(err)
		d.DecisionID = turn.ID()
		turn.Done(engine.Outcome{Code: d.Reason(), Message: d.Message})
		refuse(d)
		return
	}
	data, failures, err := p.dial(one.port)
	if err != nil {
		d := &engine.Denial{Reasons: []string{ReasonUpstream}, Message: "the API server did not open the connection", DecisionID: turn.ID()}
		turn.Done(engine.Outcome{Code: d.Reason(), Message: d.Message})
		refuse(d)
		return
	}
	defer p.upstream.RemoveStreams(data, failures)
	c := &connection{ctx: p.ctx, turn: turn}
	outcome := c.run(one, data, failures)
	if why := p.session.Ended(); why != nil {
		outcome = engine.Outcome{Code: why.Reason(), Message: why.Message, Cancelled: true}
		_, _ = io.WriteString(one.err, statusOf(why).Message)
	}
	outcome.Bytes = c.bytes
	p.bytes.Add(c.bytes)
	turn.Done(outcome)
}

// dial opens the streams of a connection at the API server.
func (p *ports) dial(port uint16) (data, failures httpstream.Stream, err error) {
	h := http.Header{}
	h.Set(corev1.PortHeader, strconv.Itoa(int(port)))
	h.Set(corev1.PortForwardRequestIDHeader, strconv.FormatInt(p.ids.Add(1), 10))
	h.Set(corev1.StreamType, corev1.StreamTypeError)
	if failures, err = p.upstream.CreateStream(h); err != nil {
		return nil, nil, err
	}
	_ = failures.Close() // nothing is written to it
	h.Set(corev1.StreamType, corev1.StreamTypeData)
	if data, err = p.upstream.CreateStream(h); err != nil {
		p.upstream.RemoveStreams(failures)
		return nil, nil, err
	}
	return data, failures, nil
}

// connection is one that is under way.
type connection struct {
	ctx   context.Context
	turn  *engine.Turn
	bytes int64
}

// run carries a connection until both sides have sent all, or one failed.
func (c *connection) run(one *pair, data, failures httpstream.Stream) engine.Outcome {
	reason := make(chan []byte, 1)
	go func() {
		text, _ := io.ReadAll(io.LimitReader(failures, maxPortError))
		reason <- text
	}()
	sent := make(chan error, 1)
	go func() {
		_, err := c.copy(data, one.data, func(p []byte) engine.Release { return c.turn.Input(replay.PortIn, p) })
		_ = data.Close()
		sent <- err
	}()
	received := make(chan error, 1)
	go func() {
		n, err := c.copy(one.data, data, func(p []byte) engine.Release { return c.turn.Output(replay.PortOut, p, 0) })
		c.bytes = n
		received <- err
	}()
	// The pod's side says when it is over; the agent may go on sending into what
	// nobody reads.
	err := <-received
	_ = one.data.Close()
	over := func() {
		_ = one.data.Reset()
		_ = data.Reset()
	}
	if err != nil {
		over()
	}
	defer func() { over(); <-sent }()
	select {
	case text := <-reason:
		if len(text) == 0 {
			break
		}
		if e := c.turn.Output(replay.Exit, text, 0).Wait(c.ctx); e == nil {
			_, _ = one.err.Write(text)
		}
		return engine.Outcome{Code: "error", Message: shorten(string(text))}
	case <-c.ctx.Done():
	}
	var d *engine.Denial
	switch {
	case errors.As(err, &d):
		_, _ = io.WriteString(one.err, statusOf(d).Message)
		return engine.Outcome{Code: d.Reason(), Message: d.Message}
	case err != nil || c.ctx.Err() != nil:
		return engine.Outcome{Code: ReasonTruncated, Message: "the connection was cut", Cancelled: true}
	}
	return engine.Outcome{Tag: "ended"}
}

// copy carries one direction, recorded before it is sent on.
func (c *connection) copy(to io.Writer, from io.Reader, record func([]byte) engine.Release) (n int64, err error) {
	buffer := make([]byte, 32<<10)
	for {
		k, err := from.Read(buffer)
		if k > 0 {
			if err := record(buffer[:k]).Wait(c.ctx); err != nil {
				return n, err
			}
			if _, err := to.Write(buffer[:k]); err != nil {
				return n, err
			}
			n += int64(k)
		}
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}
