package kubernetes

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/gorilla/websocket"

	"github.com/regate-dev/regate/engine"
)

// socket is an agent's end over WebSocket.
type socket struct {
	*websocket.Conn
	v5 bool
}

// acceptSocket changes an agent's connection to WebSocket. An error has been
// answered.
func acceptSocket(w http.ResponseWriter, hr *http.Request, protocol string) (end, error) {
	conn, err := upgradeSocket(w, hr, protocol)
	if err != nil {
		return nil, err
	}
	return &socket{Conn: conn, v5: protocol == execSockets[0]}, nil
}

func upgradeSocket(w http.ResponseWriter, hr *http.Request, protocol string) (*websocket.Conn, error) {
	front := websocket.Upgrader{Subprotocols: []string{protocol}, HandshakeTimeout: headerTimeout}
	conn, err := front.Upgrade(w, hr, nil)
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(maxMessage)
	return conn, nil
}

func (s *socket) next() (frame, error) {
	data, err := read(s.Conn)
	if err != nil {
		var closed *websocket.CloseError
		if errors.As(err, &closed) && closed.Code == websocket.CloseNormalClosure {
			err = io.EOF
		}
		return frame{}, err
	}
	return decodeFrame(data, s.v5), nil
}

// decodeFrame reads a message that is not empty.
func decodeFrame(data []byte, v5 bool) frame {
	if v5 && data[0] == channelClose && len(data) == 2 {
		return frame{channel: data[1], end: true}
	}
	return frame{channel: data[0], data: data[1:]}
}

func (s *socket) send(channel byte, data []byte) error {
	return s.WriteMessage(websocket.BinaryMessage, append([]byte{channel}, data...))
}

func (s *socket) finish(channel byte) error {
	if !s.v5 {
		return nil
	}
	return s.WriteMessage(websocket.BinaryMessage, []byte{channelClose, channel})
}

// bye puts why in the place where a client looks for how its command ended. The
// close itself is an ordinary one: with another code kubectl does not look there.
func (s *socket) bye(d *engine.Denial) {
	if d != nil {
		if status, err := json.Marshal(statusOf(d)); err == nil {
			_ = s.SetWriteDeadline(time.Now().Add(closeTime))
			_ = s.send(channelError, status)
		}
	}
	_ = s.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(closeTime))
}

func (s *socket) cut() { _ = s.NetConn().Close() }

func (s *socket) close() { _ = s.Conn.Close() }
