package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/input"
)

// streamsTime is how long an agent may take to open the streams of its request:
// the kubelet's own limit.
const streamsTime = 30 * time.Second

// streamChannels are the channels by the names that SPDY has for them.
var streamChannels = map[string]byte{
	corev1.StreamTypeStdin: channelStdin, corev1.StreamTypeStdout: channelStdout, corev1.StreamTypeStderr: channelStderr,
	corev1.StreamTypeError: channelError, corev1.StreamTypeResize: channelResize,
}

// streams is an agent's end over SPDY.
type streams struct {
	conn httpstream.Connection
	raw  net.Conn
	of   [channelResize + 1]httpstream.Stream // nil: the request has none

	frames chan frame
	failed chan error
	over   chan struct{}
}

// upgradeSPDY changes an agent's connection to SPDY. An error has been answered.
func upgradeSPDY(w http.ResponseWriter, hr *http.Request, protocols []string, opened httpstream.NewStreamHandler) (httpstream.Connection, net.Conn, error) {
	if _, err := httpstream.Handshake(hr, w, protocols); err != nil {
		return nil, nil, err
	}
	taken := &hijacked{ResponseWriter: w}
	conn := spdy.NewResponseUpgrader().UpgradeResponse(taken, hr, opened)
	if conn == nil {
		if taken.conn != nil {
			_ = taken.conn.Close()
		}
		return nil, nil, errors.New("kubernetes: the connection cannot change to SPDY")
	}
	return conn, taken.conn, nil
}

// acceptStreams changes an agent's connection to SPDY and waits for the streams
// that an exec or attach has. An error has been answered, or there is nobody to
// answer any more.
func acceptStreams(ctx context.Context, w http.ResponseWriter, hr *http.Request, exec *input.KubernetesExec) (end, error) {
	type opened struct {
		httpstream.Stream
		replied <-chan struct{}
	}
	arrived := make(chan opened)
	ctx, stop := context.WithTimeout(ctx, streamsTime)
	defer stop()
	conn, raw, err := upgradeSPDY(w, hr, execSPDY, func(stream httpstream.Stream, replied <-chan struct{}) error {
		select {
		case arrived <- opened{stream, replied}:
			return nil
		case <-ctx.Done():
			return errors.New("a stream that nobody waits for")
		}
	})
	if err != nil {
		return nil, err
	}
	s := &streams{conn: conn, raw: raw, frames: make(chan frame), failed: make(chan error, 1), over: make(chan struct{})}
	expected := 1 // for errors
	for _, asked := range []bool{exec.Stdin, exec.Stdout, exec.Stderr && !exec.TTY, exec.TTY} {
		if asked {
			expected++
		}
	}
	for range expected {
		select {
		case stream := <-arrived:
			name := stream.Headers().Get(corev1.StreamType)
			channel, known := streamChannels[name]
			if !known || s.of[channel] != nil || channel == channelStdin && !exec.Stdin || channel == channelResize && !exec.TTY {
				s.close()
				return nil, fmt.Errorf("kubernetes: the agent opened a stream %q that its request does not have", shorten(name))
			}
			s.of[channel] = stream.Stream
			select {
			case <-stream.replied: // its reply goes out before any data
			case <-ctx.Done():
			}
		case <-conn.CloseChan():
			s.close()
			return nil, errors.New("kubernetes: the agent went away")
		case <-ctx.Done():
			s.close()
			return nil, errors.New("kubernetes: the agent did not open its streams")
		}
	}
	if s.of[channelError] == nil {
		s.close()
		return nil, errors.New("kubernetes: the agent opened no stream for errors")
	}
	s.read()
	return s, nil
}

// read begins to read what the agent sends.
func (s *streams) read() {
	if in := s.of[channelStdin]; in != nil {
		go s.copy(in)
	}
	if in := s.of[channelResize]; in != nil {
		go s.sizes(in)
	}
}

func (s *streams) put(f frame) bool {
	select {
	case s.frames <- f:
		return true
	case <-s.over:
		return false
	}
}

func (s *streams) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}

func (s *streams) copy(in io.Reader) {
	for {
		data := make([]byte, 32<<10)
		n, err := in.Read(data)
		if n > 0 && !s.put(frame{channel: channelStdin, data: data[:n]}) {
			return
		}
		if errors.Is(err, io.EOF) {
			s.put(frame{channel: channelStdin, end: true})
			return
		}
		if err != nil {
			s.fail(err)
			return
		}
	}
}

// sizes reads the sizes of a terminal: JSON one after the other.
func (s *streams) sizes(in io.Reader) {
	dec := json.NewDecoder(&limited{in, maxMessage})
	for {
		var size struct{ Width, Height uint16 }
		if err := dec.Decode(&size); err != nil {
			if !errors.Is(err, io.EOF) {
				s.fail(fmt.Errorf("the size of a terminal: %w", err))
			}
			return
		}
		data, err := json.Marshal(size)
		if err != nil || !s.put(frame{channel: channelResize, data: data}) {
			return
		}
	}
}

// limited is an io.Reader that fails after so many bytes.
type limited struct {
	io.Reader
	left int
}

// Read implements io.Reader.
func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errors.New("there is too much of it")
	}
	n, err := l.Reader.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}

func (s *streams) next() (frame, error) {
	select {
	case f := <-s.frames:
		return f, nil
	case err := <-s.failed:
		return frame{}, err
	case <-s.conn.CloseChan():
		return frame{}, errors.New("the connection has ended")
	case <-s.over:
		return frame{}, errors.New("the stream has ended")
	}
}

func (s *streams) send(channel byte, data []byte) error {
	stream := s.of[channel]
	if stream == nil {
		if len(data) == 0 {
			return nil
		}
		return fmt.Errorf("kubernetes: the API server sent data on channel %d, which the agent has not opened", channel)
	}
	if len(data) == 0 {
		return nil // a stream is open
	}
	_, err := stream.Write(data)
	return err
}

func (s *streams) finish(channel byte) error {
	if int(channel) >= len(s.of) || channel == channelError || s.of[channel] == nil {
		return nil
	}
	return s.of[channel].Close()
}

// bye puts why in the place where a client looks for how its command ended. A
// command that has ended has said so there itself.
func (s *streams) bye(d *engine.Denial) {
	_ = s.raw.SetWriteDeadline(time.Now().Add(closeTime))
	if d != nil {
		if status, err := json.Marshal(statusOf(d)); err == nil {
			_, _ = s.of[channelError].Write(status)
		}
	}
	for _, stream := range s.of {
		if stream != nil {
			_ = stream.Close()
		}
	}
}

func (s *streams) cut() { _ = s.raw.Close() }

func (s *streams) close() {
	select {
	case <-s.over:
	default:
		close(s.over)
	}
	_ = s.raw.SetWriteDeadline(time.Now().Add(closeTime))
	_ = s.conn.Close()
}

// hijacked is a response whose connection is taken over, with frames no larger
// than they need to be.
type hijacked struct {
	http.ResponseWriter
	conn net.Conn
}
