package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/remotecommand"
	dial "k8s.io/client-go/transport/websocket"
	"k8s.io/streaming/pkg/httpstream"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/kubernetes/request"
	"github.com/regate-dev/regate/proxies/kubernetes/rewrite"
)

// exec, attach and portforward are terminated here: regate reads every message,
// so that output can be masked and all of it recorded, and speaks to the API
// server itself. An agent may use WebSocket or SPDY; the API server is asked over
// WebSocket. Nothing is changed to another protocol before both the gate and the
// API server have agreed, and what is then carried are messages, never bytes of
// a connection.

// The protocols that regate speaks, the best first.
var (
	execSockets   = []string{remotecommand.StreamProtocolV5Name, remotecommand.StreamProtocolV4Name}
	execSPDY      = []string{remotecommand.StreamProtocolV4Name}
	forwardSocket = []string{"SPDY/3.1+" + forwardSPDY[0]}
	forwardSPDY   = []string{"portforward.k8s.io"}
)

const (
	// maxMessage bounds one message, in bytes. kubectl sends 32 KiB at most.
	maxMessage = 1 << 20
	// closeTime bounds the last message to an agent.
	closeTime = 5 * time.Second
)

// offered returns the protocols that an agent offers for a stream and regate
// speaks. A token among them is not looked at.
func offered(r *request.Request, h http.Header) []string {
	ours, header := execSockets, "Sec-Websocket-Protocol"
	forward := r.Action.Stream == "portforward"
	switch {
	case r.Action.Upgrade == "spdy" && forward:
		ours, header = forwardSPDY, httpstream.HeaderProtocolVersion
	case r.Action.Upgrade == "spdy":
		ours, header = execSPDY, httpstream.HeaderProtocolVersion
	case forward:
		ours = forwardSocket
	}
	var theirs []string
	for _, line := range h[http.CanonicalHeaderKey(header)] {
		for p := range strings.SplitSeq(line, ",") {
			theirs = append(theirs, strings.TrimSpace(p))
		}
	}
	return slices.DeleteFunc(slices.Clone(ours), func(p string) bool { return !slices.Contains(theirs, p) })
}

// streamDenial refuses the streams that regate does not terminate: what it
// cannot see it cannot record.
func streamDenial(r *request.Request, h http.Header) *engine.Denial {
	if r.Action.Upgrade == "" || len(offered(r, h)) > 0 {
		return nil
	}
	return &engine.Denial{
		Reasons: []string{ReasonStream}, Message: r.Action.Stream + " was asked for in a protocol that this gateway does not speak",
		Hint: "Use a current kubectl, or another client that offers " + strings.Join(slices.Concat(execSockets, forwardSocket, forwardSPDY), ", ") + ".",
	}
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

// stream carries a stream that the gate has allowed.
func (s *Server) stream(ctx context.Context, w http.ResponseWriter, hr *http.Request, session *session, t *target, turn *engine.Turn, r *request.Request) {
	refuse := func(d *engine.Denial) {
		d.DecisionID = turn.ID()
		turn.Done(engine.Outcome{Code: d.Reason(), Message: d.Message})
		session.Own.remember(r, d)
		deny(w, d)
	}
	forward := r.Action.Stream == "portforward"
	masker, err := s.streamMasker(ctx, turn, r)
	if err != nil {
		refuse(asDenial(err))
		return
	}
	acts, err := t.Impersonate.of(session.Identity())
	if err != nil {
		refuse(asDenial(err))
		return
	}
	protocols := offered(r, hr.Header)
	switch {
	case forward:
		protocols = forwardSocket
	case r.Action.Upgrade == "spdy": // it can say that stdin has ended, which only v5 can
		protocols = execSockets[:1]
	}
	upstream, err := t.dialStream(ctx, r, acts, protocols)
	if err != nil {
		var failed *httpstream.UpgradeFailureError
		if errors.As(err, &failed) { // it does not unwrap
			err = failed.Cause
		}
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
	if forward {
		s.forwardPorts(ctx, w, hr, session, t, turn, r, upstream)
		return
	}
	c := &channels{ctx: ctx, turn: turn, upstream: upstream, stdin: r.Detail.Exec.Stdin, v5: upstream.Subprotocol() == execSockets[0]}
	if r.Action.Upgrade == "spdy" {
		c.agent, err = acceptStreams(ctx, w, hr, r.Detail.Exec)
	} else {
		c.agent, err = acceptSocket(w, hr, upstream.Subprotocol())
	}
	if err != nil { // it has been answered
		turn.Done(engine.Outcome{Code: request.ReasonUpgrade, Message: "the agent's upgrade failed"})
		return
	}
	defer c.agent.close()
	defer cutWhenDone(ctx, c.agent.cut)()
	if masker != nil && !masker.Idle() {
		c.out[channelStdout], _ = masker.Text()
		c.out[channelStderr], _ = masker.Text()
		c.out[channelError], _ = masker.Text()
	}
	turn.Done(c.run(session))
}

// streamMasker says how what a stream carries is masked; nil is not at all. The
// error is a *engine.Denial.
func (s *Server) streamMasker(ctx context.Context, turn *engine.Turn, r *request.Request) (*rewrite.Masker, error) {
	tree, err := turn.Tree(ctx, []input.Field{{Name: r.Summary(), Type: "stream", Sources: []string{sourceOf(r)}, Derivation: input.Exact}})
	if err != nil || tree == nil {
		return nil, err
	}
	masker := rewrite.New(s.keyring, tree, r.Resource.Type)
	if r.Action.Stream == "portforward" {
		if !masker.Idle() {
			return nil, &engine.Denial{
				Reasons: []string{ReasonUnmaskable}, Message: "a policy masks values, and in what comes from a port there is no telling where one is",
				Hint: `Ask the policy's owner to leave out requests whose input.action.stream is "portforward".`,
			}
		}
		return nil, nil
	}
	if _, ok := masker.Text(); !ok {
		return nil, &engine.Denial{Reasons: []string{ReasonUnmaskable}, Message: "a policy masks the output of " + r.Action.Stream + " as a whole"}
	}
	return masker, nil
}

// cutWhenDone cuts a connection that is still there some time after ctx has
// ended: an agent that reads nothing would keep its stream for ever. The
// returned function takes that back.
func cutWhenDone(ctx context.Context, cut func()) (stop func()) {
	over := make(chan struct{})
	go func() {
		select {
		case <-over:
			return
		case <-ctx.Done():
		}
		select {
		case <-over:
		case <-time.After(closeTime):
			cut()
		}
	}()
	return func() { close(over) }
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
