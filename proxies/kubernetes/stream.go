package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	dial "k8s.io/client-go/transport/websocket"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/mask"
	"github.com/regate-dev/regate/proxies/kubernetes/request"
	"github.com/regate-dev/regate/proxies/kubernetes/rewrite"
)

// exec and attach are terminated here: regate reads every message, so that
// output can be masked and all of it recorded, and speaks to the API server
// itself. One message is one byte that names a channel, and data.
const (
	channelStdin  = 0
	channelStdout = 1
	channelStderr = 2
	channelError  = 3 // a Status: how the command ended
	channelResize = 4
	channelClose  = 255 // v5: the channel in its data has ended
)

// The formats of what is recorded of a stream.
const (
	formatStdin  = "kubernetes/stdin"
	formatStdout = "kubernetes/stdout"
	formatStderr = "kubernetes/stderr"
	formatExit   = "kubernetes/exit"   // the Status on the error channel
	formatResize = "kubernetes/resize" // {"Width":80,"Height":24}
)

// subprotocols are those that regate speaks, the best first.
var subprotocols = []string{"v5.channel.k8s.io", "v4.channel.k8s.io"}

const (
	// maxMessage bounds one message, in bytes. kubectl sends 32 KiB at most.
	maxMessage = 1 << 20
	// holdBack is how long output is kept for what may make it a value to mask:
	// a prompt must not wait for the next line.
	holdBack = 100 * time.Millisecond
	// closeTime bounds the last message to an agent.
	closeTime = 5 * time.Second
)

// offered returns the subprotocols that an agent offers and regate speaks. A
// token among them is not looked at.
func offered(h http.Header) []string {
	var theirs []string
	for _, line := range h["Sec-Websocket-Protocol"] {
		for p := range strings.SplitSeq(line, ",") {
			theirs = append(theirs, strings.TrimSpace(p))
		}
	}
	return slices.DeleteFunc(slices.Clone(subprotocols), func(p string) bool { return !slices.Contains(theirs, p) })
}

// dialStream opens the stream at the API server. Nothing of it is connected to
// the agent before it is there.
func (t *target) dialStream(ctx context.Context, r *request.Request, acts http.Header, protocols []string) (*websocket.Conn, error) {
	round, holder, err := dial.RoundTripperFor(t.config)
	if err != nil {
		return nil, err
	}
	u := *t.base
	u.Path += r.URL.Path
	u.RawQuery = r.URL.RawQuery
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	for name, values := range acts {
		req.Header[name] = values
	}
	if err := (guarded{nil, t.Impersonate.Enabled}).check(req); err != nil {
		return nil, err
	}
	return dial.Negotiate(round, holder, req, protocols...)
}

// stream carries an exec or an attach that the gate has allowed.
func (s *Server) stream(ctx context.Context, w http.ResponseWriter, hr *http.Request, session *session, t *target, turn *engine.Turn, r *request.Request) {
	refuse := func(d *engine.Denial) {
		d.DecisionID = turn.ID()
		turn.Done(engine.Outcome{Code: d.Reason(), Message: d.Message})
		session.Own.remember(r.URL.RequestURI(), d)
		deny(w, d)
	}
	tree, err := turn.Tree(ctx, []input.Field{{Name: r.Summary(), Type: "stream", Sources: []string{sourceOf(r)}, Derivation: input.Exact}})
	if err != nil {
		refuse(asDenial(err))
		return
	}
	var masker *rewrite.Masker
	if tree != nil {
		masker = rewrite.New(s.keyring, tree, r.Resource.Type)
		if _, ok := masker.Text(); !ok {
			refuse(&engine.Denial{Reasons: []string{ReasonUnmaskable}, Message: "a policy masks the output of " + r.Action.Stream + " as a whole"})
			return
		}
	}
	acts, err := t.Impersonate.of(session.Identity())
	if err != nil {
		refuse(asDenial(err))
		return
	}
	upstream, err := t.dialStream(ctx, r, acts, offered(hr.Header))
	if err != nil {
		var status *apierrors.StatusError
		if errors.As(err, &status) && status.ErrStatus.Code >= 400 {
			s.refusedUpstream(ctx, w, session, turn, r, &status.ErrStatus)
			return
		}
		deny(w, s.unreachable(ctx, session, t, turn, err))
		return
	}
	defer upstream.Close()
	if err := turn.Output(formatHead, []byte(`{"status":101}`), 0).Wait(ctx); err != nil {
		refuse(asDenial(err))
		return
	}
	front := websocket.Upgrader{Subprotocols: []string{upstream.Subprotocol()}, HandshakeTimeout: headerTimeout}
	agent, err := front.Upgrade(w, hr, nil)
	if err != nil { // it has been answered
		turn.Done(engine.Outcome{Code: request.ReasonUpgrade, Message: "the agent's upgrade failed"})
		return
	}
	defer agent.Close()
	c := &channels{ctx: ctx, turn: turn, agent: agent, upstream: upstream, stdin: r.Detail.Exec.Stdin, v5: upstream.Subprotocol() == subprotocols[0]}
	if masker != nil && !masker.Idle() {
		c.out[channelStdout], _ = masker.Text()
		c.out[channelStderr], _ = masker.Text()
		c.out[channelError], _ = masker.Text()
	}
	outcome := c.run(session)
	turn.Done(outcome)
}

// refusedUpstream passes on why the API server did not open a stream.
func (s *Server) refusedUpstream(ctx context.Context, w http.ResponseWriter, session *session, turn *engine.Turn, r *request.Request, status *metav1.Status) {
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	body, err := json.Marshal(status)
	if err != nil {
		deny(w, asDenial(err))
		return
	}
	s.answer(ctx, w, session, turn, r, &http.Response{
		StatusCode: int(status.Code), Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	})
}

// channels carries messages between an agent and the API server.
type channels struct {
	ctx             context.Context
	turn            *engine.Turn
	agent, upstream *websocket.Conn
	stdin, v5       bool
	out             [channelError + 1]*mask.Stream // nil: nothing to mask

	bytes  int64
	exit   metav1.Status
	exited bool
}

// message is one from the API server.
type message struct {
	data []byte
	err  error
}

// run carries until one side ends, or the session does.
func (c *channels) run(session *session) engine.Outcome {
	c.agent.SetReadLimit(maxMessage)
	c.upstream.SetReadLimit(maxMessage)
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	from := make(chan message)
	go func() {
		for {
			data, err := read(c.upstream)
			select {
			case from <- message{data, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	gone := make(chan error, 1)
	go func() { gone <- c.input(ctx) }()

	err := c.output(ctx, from, gone)
	if why := session.Ended(); why != nil {
		c.tell(why)
		return engine.Outcome{Bytes: c.bytes, Code: why.Reason(), Message: why.Message, Cancelled: true}
	}
	var d *engine.Denial
	switch {
	case errors.As(err, &d):
		c.tell(d)
		return engine.Outcome{Bytes: c.bytes, Code: d.Reason(), Message: d.Message}
	case err != nil:
		return engine.Outcome{Bytes: c.bytes, Code: ReasonTruncated, Message: "the stream was cut", Cancelled: true}
	}
	out := engine.Outcome{Bytes: c.bytes, Tag: "ended"}
	if c.exited {
		out.Tag = "exit 0"
		if c.exit.Status != metav1.StatusSuccess {
			out.Tag, out.Code, out.Message = "", string(c.exit.Reason), shorten(c.exit.Message)
		}
	}
	_ = c.agent.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(closeTime))
	return out
}

func read(conn *websocket.Conn) ([]byte, error) {
	kind, data, err := conn.ReadMessage()
	if err == nil && (kind != websocket.BinaryMessage || len(data) == 0) {
		err = errors.New("kubernetes: a message that is no channel's")
	}
	return data, err
}

// output carries what the API server sends. It returns nil when that has ended.
func (c *channels) output(ctx context.Context, from <-chan message, gone <-chan error) error {
	quiet := time.NewTimer(holdBack)
	defer quiet.Stop()
	for {
		select {
		case m := <-from:
			if m.err != nil {
				for ch := range c.out {
					if err := c.release(byte(ch), nil, true); err != nil {
						return err
					}
				}
				var end *websocket.CloseError
				if errors.As(m.err, &end) && (end.Code == websocket.CloseNormalClosure || end.Code == websocket.CloseNoStatusReceived) || errors.Is(m.err, io.EOF) || c.exited {
					return nil
				}
				return m.err
			}
			if err := c.receive(m.data[0], m.data[1:]); err != nil {
				return err
			}
			quiet.Reset(holdBack)
		case <-quiet.C:
			for ch := range c.out {
				if err := c.release(byte(ch), nil, true); err != nil {
					return err
				}
			}
		case err := <-gone:
			if err != nil {
				return err
			}
			gone = nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// receive takes one message of the API server.
func (c *channels) receive(channel byte, data []byte) error {
	switch channel {
	case channelStdout, channelStderr:
		return c.release(channel, data, false)
	case channelError:
		if err := json.Unmarshal(data, &c.exit); err == nil {
			c.exited = true
		}
		return c.release(channel, data, true)
	case channelClose:
		if !c.v5 || len(data) != 1 {
			return errors.New("kubernetes: a channel is closed that cannot be")
		}
		if int(data[0]) < len(c.out) {
			if err := c.release(data[0], nil, true); err != nil {
				return err
			}
		}
		return c.agent.WriteMessage(websocket.BinaryMessage, []byte{channelClose, data[0]})
	case channelStdin, channelResize:
		if len(data) == 0 {
			return c.agent.WriteMessage(websocket.BinaryMessage, []byte{channel})
		}
	}
	return fmt.Errorf("kubernetes: the API server sent data on channel %d", channel)
}

// release masks output, records it and shows what can be shown. all says that
// nothing is held back for what may come.
func (c *channels) release(channel byte, data []byte, all bool) error {
	stream := c.out[channel]
	shown := data
	if stream != nil {
		shown = stream.Write(nil, data)
		if all {
			shown = stream.Flush(shown)
		}
		if len(shown) == 0 && len(data) > 0 {
			return nil
		}
	}
	if len(shown) == 0 {
		if data == nil {
			return nil
		}
		// An empty message opens a channel.
		return c.agent.WriteMessage(websocket.BinaryMessage, []byte{channel})
	}
	format := formatStdout
	switch channel {
	case channelStderr:
		format = formatStderr
	case channelError:
		format = formatExit
	}
	for len(shown) > 0 {
		n := min(len(shown), 32<<10) // as large as the API server's own
		if err := c.turn.Output(format, shown[:n], 0).Wait(c.ctx); err != nil {
			return err
		}
		if err := c.agent.WriteMessage(websocket.BinaryMessage, append([]byte{channel}, shown[:n]...)); err != nil {
			return err
		}
		c.bytes += int64(n)
		shown = shown[n:]
	}
	return nil
}

// input carries what the agent sends, recorded before it is sent on. It returns
// nil when the agent has ended in good order.
func (c *channels) input(ctx context.Context) error {
	for {
		data, err := read(c.agent)
		if err != nil {
			var end *websocket.CloseError
			if errors.As(err, &end) && end.Code == websocket.CloseNormalClosure {
				return c.upstream.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(closeTime))
			}
			return errors.Join(errors.New("the agent went away"), err)
		}
		channel, rest := data[0], data[1:]
		format := formatStdin
		switch {
		case channel == channelStdin && c.stdin:
		case channel == channelResize:
			format = formatResize
		case channel == channelClose && c.v5 && len(rest) == 1:
			format = ""
		case len(rest) == 0:
			format = "" // opens a channel
		default:
			return &engine.Denial{Reasons: []string{ReasonStream}, Message: fmt.Sprintf("data came on channel %d, which this request does not have", channel)}
		}
		if format != "" && len(rest) > 0 {
			for part := range slices.Chunk(rest, engine.MaxOutput) {
				if err := c.turn.Input(format, part).Wait(ctx); err != nil {
					return err
				}
			}
		}
		if err := c.upstream.WriteMessage(websocket.BinaryMessage, data); err != nil {
			return err
		}
	}
}

// tell ends a stream with why, in the place where a client looks for how its
// command ended.
func (c *channels) tell(d *engine.Denial) {
	status, err := json.Marshal(statusOf(d))
	if err != nil {
		return
	}
	_ = c.agent.SetWriteDeadline(time.Now().Add(closeTime))
	_ = c.agent.WriteMessage(websocket.BinaryMessage, append([]byte{channelError}, status...))
	_ = c.agent.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.ClosePolicyViolation, shorten(d.Reason())), time.Now().Add(closeTime))
}
