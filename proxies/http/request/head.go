package request

import (
	"bytes"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Framing is how long an HTTP/1 body is by its head.
type Framing struct {
	Chunked bool
	Length  int64 // of a body that is not chunked; 0 where there is none
}

// CheckHead looks at the head of an HTTP/1 request, from its request line to
// the empty line, for what net/http forgives and another reader may take
// differently. The error is a *Refusal.
func CheckHead(head []byte) (Framing, error) {
	var f Framing
	if len(head) < 4 || !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		return f, refuse(ReasonHead, "", "the head of the request does not end")
	}
	lines := bytes.Split(head[:len(head)-4], []byte("\r\n"))
	for _, l := range lines {
		if bytes.ContainsAny(l, "\r\n\x00") {
			return f, refuse(ReasonHead, "End lines with CR and LF.", "the head has a bare CR, LF or NUL")
		}
	}
	parts := strings.Split(string(lines[0]), " ")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] != "HTTP/1.1" && parts[2] != "HTTP/1.0" {
		return f, refuse(ReasonHead, "", "the request line is not METHOD TARGET HTTP/1.1")
	}
	var lengths, codings, hosts []string
	for _, l := range lines[1:] {
		name, value, found := strings.Cut(string(l), ":")
		switch {
		case len(l) > 0 && (l[0] == ' ' || l[0] == '\t'):
			return f, refuse(ReasonHead, "Send each header in one line.", "a header goes on in a second line")
		case !found || !httpguts.ValidHeaderFieldName(name):
			return f, refuse(ReasonHead, "", "a header has no proper name, or a space before its colon")
		}
		value = strings.Trim(value, " \t")
		switch strings.ToLower(name) {
		case "content-length":
			lengths = append(lengths, value)
		case "transfer-encoding":
			codings = append(codings, value)
		case "host":
			hosts = append(hosts, value)
		}
	}
	switch { // net/http shows no Host header where the target names a host
	case len(hosts) != 1:
	case parts[0] == "CONNECT": // its Host goes nowhere; clients leave it out, or name the proxy there
	case strings.Contains(parts[1], "://") && !strings.HasPrefix(parts[1], "/"):
		scheme, rest, _ := strings.Cut(parts[1], "://")
		authority, _, _ := strings.Cut(rest, "/")
		authority, _, _ = strings.Cut(authority, "?")
		if !agree(strings.ToLower(scheme), authority, hosts[0]) {
			return f, refuse(ReasonHost, "Send the same host in both.", "the host of the URL and the Host header differ")
		}
	}
	switch {
	case len(hosts) > 1:
		return f, refuse(ReasonHost, "Send one Host header.", "there are %d Host headers", len(hosts))
	case len(hosts) == 0 && parts[0] != "CONNECT":
		return f, refuse(ReasonHost, "Send one Host header.", "the request names no host")
	case len(lengths) > 0 && len(codings) > 0:
		return f, refuse(ReasonFraming, "Send one of them.", "both Content-Length and Transfer-Encoding say how long the body is")
	case len(lengths) > 1, len(codings) > 1:
		return f, refuse(ReasonFraming, "Send it once.", "Content-Length or Transfer-Encoding is there more than once")
	case len(codings) == 1:
		if !strings.EqualFold(codings[0], "chunked") || parts[2] == "HTTP/1.0" {
			return f, refuse(ReasonFraming, "Send Transfer-Encoding: chunked, or Content-Length.", "the transfer coding %q is not plain chunked", clip(codings[0]))
		}
		f.Chunked = true
	case len(lengths) == 1:
		n, err := strconv.ParseUint(lengths[0], 10, 63)
		if err != nil || lengths[0][0] == '+' {
			return f, refuse(ReasonFraming, "", "the Content-Length %q is not a number", clip(lengths[0]))
		}
		f.Length = int64(n)
	}
	return f, nil
}

// agree reports whether two authorities are of one origin. One that is none is
// for who reads it to refuse.
func agree(scheme, target, host string) bool {
	a, bad := ParseOrigin(scheme, target)
	b, worse := ParseOrigin(scheme, host)
	return bad != nil || worse == nil && a == b
}
