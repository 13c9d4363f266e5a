package request

import (
	"net/http"
	"strings"
)

// singular are headers that decide what a request means: twice, they say
// nothing.
var singular = []string{
	"Accept", "Authorization", "Content-Encoding", "Content-Length", "Content-Type", "Host", "Transfer-Encoding", "Upgrade",
	"Sec-Websocket-Key", "Sec-Websocket-Version",
}

// checkHeader refuses what could be read in two ways, and returns the protocol
// that the agent wants to change to: "", "websocket" or "spdy".
func checkHeader(h http.Header) (upgrade string, refusal *Refusal) {
	for _, name := range singular {
		if len(h[name]) > 1 {
			return "", refuse(ReasonHeader, "Send it once.", "the header %s is there more than once", name)
		}
	}
	if e := h.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return "", refuse(ReasonEncoding, "Send the body as it is.", "the body is compressed")
	}
	asked := false
	for _, line := range h["Connection"] {
		for token := range strings.SplitSeq(line, ",") {
			asked = asked || strings.EqualFold(strings.TrimSpace(token), "upgrade")
		}
	}
	protocol, there := h["Upgrade"]
	switch {
	case !there && !asked:
		return "", nil
	case !there || !asked:
		return "", refuse(ReasonUpgrade, "", "the headers Upgrade and Connection contradict each other")
	case strings.EqualFold(protocol[0], "websocket"):
		return "websocket", nil
	case strings.EqualFold(protocol[0], "SPDY/3.1"):
		return "spdy", nil
	}
	return "", refuse(ReasonUpgrade, "Use WebSocket or SPDY/3.1.", "the connection cannot change to %q", protocol[0])
}

// accepted lists the media types of an Accept header, in the agent's order.
func accepted(h http.Header) []string {
	out := []string{}
	for part := range strings.SplitSeq(h.Get("Accept"), ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}
