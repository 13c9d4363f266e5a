package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/gorilla/websocket"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/mask"
	"github.com/regate-dev/regate/proxies/kubernetes/replay"
)

// The channels of an exec or an attach. Over WebSocket a message is one byte
// that names a channel, and data; over SPDY each is a stream.
const (
	channelStdin  = 0
	channelStdout = 1
	channelStderr = 2
	channelError  = 3 // a Status: how the command ended
	channelResize = 4
	channelClose  = 255 // v5: the channel in its data has ended
)

// holdBack is how long output is kept for what may make it a value to mask: a
// prompt must not wait for the next line.
const holdBack = 100 * time.Millisecond

// frame is what an agent sends on a channel: data, none of it where the channel
// opens, or its end.
type frame struct {
	channel byte
	data    []byte
	end     bool
}

// end is the agent's side of an exec or an attach. send and finish are for one
// goroutine, next for another one.
type end interface {
	// next returns what the agent sends; io.EOF when it has ended in good order.
	next() (frame, error)
	send(channel byte, data []byte) error
	// finish says that nothing more comes on a channel.
	finish(channel byte) error
	// bye says that all is over, and why it is where that is not the command's own
	// end.
	bye(d *engine.Denial)
	// cut ends the connection at once, whatever is under way on it.
	cut()
	close()
}

// channels carries messages between an agent and the API server.
type channels struct {
	ctx       context.Context
	turn      *engine.Turn
	agent     end
	upstream  *websocket.Conn
	stdin, v5 bool                           // the request has stdin; the API server speaks v5
	out       [channelError + 1]*mask.Stream // nil: nothing to mask

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
		c.agent.bye(why)
		return engine.Outcome{Bytes: c.bytes, Code: why.Reason(), Message: why.Message, Cancelled: true}
	}
	var d *engine.Denial
	switch {
	case errors.As(err, &d):
		c.agent.bye(d)
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
	c.agent.bye(nil)
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
		return c.agent.finish(data[0])
	case channelStdin, channelResize:
		if len(data) == 0 {
			return c.agent.send(channel, nil)
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
		return c.agent.send(channel, nil)
	}
	format := replay.Stdout
	switch channel {
	case channelStderr:
		format = replay.Stderr
	case channelError:
		format = replay.Exit
	}
	for len(shown) > 0 {
		n := min(len(shown), 32<<10) // as large as the API server's own
		if err := c.turn.Output(format, shown[:n], 0).Wait(c.ctx); err != nil {
			return err
		}
		if err := c.agent.send(channel, shown[:n]); err != nil {
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
		f, err := c.agent.next()
		if errors.Is(err, io.EOF) {
			return c.upstream.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(closeTime))
		}
		if err != nil {
			return errors.Join(errors.New("the agent went away"), err)
		}
		message, format, err := c.onward(f)
		if err != nil {
			return err
		}
		if message == nil {
			continue
		}
		for part := range slices.Chunk(f.data, engine.MaxOutput) {
			if err := c.turn.Input(format, part).Wait(ctx); err != nil {
				return err
			}
		}
		if err := c.upstream.WriteMessage(websocket.BinaryMessage, message); err != nil {
			return err
		}
	}
}

// onward is the message for the API server, nil for none, and the format in
// which its data is recorded. The error is a *engine.Denial.
func (c *channels) onward(f frame) (message []byte, format string, err error) {
	switch {
	case f.end && c.v5:
		return []byte{channelClose, f.channel}, "", nil
	case f.end:
		return nil, "", nil // v4 has no word for it
	case f.channel == channelStdin && c.stdin:
		format = replay.Stdin
	case f.channel == channelResize:
		format = replay.Resize
	case len(f.data) == 0 && f.channel < channelResize: // it opens a channel
	default:
		return nil, "", &engine.Denial{Reasons: []string{ReasonStream}, Message: fmt.Sprintf("data came on channel %d, which this request does not have", f.channel)}
	}
	return append([]byte{f.channel}, f.data...), format, nil
}
