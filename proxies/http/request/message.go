package request

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
)

// Target reads a request target and a Host header as a listener gets them. An
// absolute form is only for a forward proxy, where it has to agree with Host;
// origin is that of a listener that is no forward proxy or of a tunnel. The
// error is a *Refusal.
func Target(target, host, scheme string, forward bool) (o Origin, path, query string, err error) {
	switch {
	case strings.HasPrefix(target, "/"):
		if forward {
			return o, "", "", refuse(ReasonTarget, "Use regate as the client's proxy.", "a proxy's request names the whole URL")
		}
	case forward && (strings.HasPrefix(target, "http://") || strings.HasPrefix(target, "https://")):
		var rest string
		scheme, rest, _ = strings.Cut(target, "://")
		end := strings.IndexAny(rest, "/?#")
		if end < 0 {
			end = len(rest)
		}
		authority := rest[:end]
		if target = rest[end:]; !strings.HasPrefix(target, "/") {
			target = "/" + target
		}
		if o, err = ParseOrigin(scheme, authority); err != nil {
			return o, "", "", err
		}
		if said, err := ParseOrigin(scheme, host); err != nil || said != o {
			return o, "", "", refuse(ReasonHost, "Send the same host in both.", "the host of the URL and the Host header differ")
		}
	default:
		return o, "", "", refuse(ReasonTarget, "Send the path and the query.", "the request target is of a form that is not for this listener")
	}
	if o.Host == "" {
		if o, err = ParseOrigin(scheme, host); err != nil {
			return o, "", "", err
		}
	}
	if strings.Contains(target, "#") {
		return o, "", "", refuse(ReasonTarget, "Leave the fragment out.", "the request target has a fragment")
	}
	path, query, _ = strings.Cut(target, "?")
	return o, path, query, nil
}

// Message is an HTTP/1 request as it is in a file.
type Message struct {
	Method, Target, Version, Host string
	Header                        http.Header
	Body                          []byte
	HasBody                       bool
}

// ReadMessage reads one HTTP/1.1 request with its body, strictly. Where the
// head says nothing of a body, what comes after it is the body. The error is
// a *Refusal.
func ReadMessage(raw []byte) (*Message, error) {
	end := bytes.Index(raw, []byte("\r\n\r\n"))
	if end < 0 {
		return nil, refuse(ReasonHead, "", "the head of the request does not end")
	}
	head, body := raw[:end+4], raw[end+4:]
	framing, err := CheckHead(head)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(string(head[:end]), "\r\n")
	start := strings.Split(lines[0], " ")
	m := &Message{Method: start[0], Target: start[1], Version: start[2], Header: http.Header{}}
	said := false
	for _, l := range lines[1:] {
		name, value, _ := strings.Cut(l, ":")
		value = strings.Trim(value, " \t")
		switch strings.ToLower(name) {
		case "host":
			m.Host = value
		case "content-length", "transfer-encoding":
			said = true
		default:
			// As it is written: an underscore or a space must be seen.
			m.Header[http.CanonicalHeaderKey(name)] = append(m.Header[http.CanonicalHeaderKey(name)], value)
		}
	}
	switch {
	case framing.Chunked:
		body, err = io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(body)))
		if err != nil {
			return nil, refuse(ReasonFraming, "", "the chunked body cannot be read")
		}
	case said:
		if int64(len(body)) != framing.Length {
			return nil, refuse(ReasonFraming, "", "the body has %d bytes, and Content-Length says %d", len(body), framing.Length)
		}
	}
	m.Body, m.HasBody = body, len(body) > 0 || framing.Chunked
	return m, nil
}

// AsSent gives a file that people wrote the line ends that HTTP has: where its
// head has none with CR.
func AsSent(text []byte) []byte {
	head, body, found := bytes.Cut(text, []byte("\n\n"))
	if bytes.Contains(head, []byte("\r\n")) {
		return text
	}
	if !found {
		head, body = bytes.TrimRight(text, "\n"), nil
	}
	return append(append(bytes.ReplaceAll(head, []byte("\n"), []byte("\r\n")), "\r\n\r\n"...), body...)
}

// FromURL makes the message that a client would send for a URL, which is for
// tools that are given one. The error says what is wrong with the URL.
func FromURL(method, text string) (*Message, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("want a URL that begins with http:// or https://")
	}
	return &Message{Method: method, Target: text, Version: "HTTP/1.1", Host: u.Host, Header: http.Header{}}, nil
}

// Incoming is the message as it comes to a listener. The error is a *Refusal.
func (m *Message) Incoming(scheme string, forward bool) (Incoming, error) {
	o, path, query, err := Target(m.Target, m.Host, scheme, forward)
	if err != nil {
		return Incoming{}, err
	}
	mode := "reverse"
	if forward {
		mode = "forward"
	}
	return Incoming{
		Mode: mode, Method: m.Method, Origin: o, RawPath: path, RawQuery: query, Version: m.Version, Header: m.Header, HasBody: m.HasBody,
	}, nil
}
