package request

import (
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Bounds of headers.
const (
	maxHeaders     = 200
	maxHeaderValue = 32 << 10
)

// DefaultHeaders are the headers that a policy sees the values of: those that
// change what a request does. They are part of what an approval is bound to,
// so none that differs from one try to the next is among them.
var DefaultHeaders = []string{
	"accept", "accept-language", "content-encoding", "content-language", "content-type", "if-match", "if-none-match",
	"if-unmodified-since", "origin", "prefer", "range", "x-requested-with",
}

// secretHeaders are never shown, whatever is chosen.
var secretHeaders = []string{"authorization", "cookie", "proxy-authorization", "x-api-key", "x-auth-token", "x-amz-security-token", "x-csrf-token", "x-xsrf-token", "api-key", "apikey", "x-goog-api-key", "private-token", "x-vault-token"}

// overrides change the method or the URL behind the back of whoever looks at
// the request line.
var overrides = map[string]string{
	"X-Http-Method-Override": ReasonOverride,
	"X-Http-Method":          ReasonOverride,
	"X-Method-Override":      ReasonOverride,
	"X-Method":               ReasonOverride,
	"X-Original-Url":         ReasonRewrite,
	"X-Rewrite-Url":          ReasonRewrite,
	"X-Original-Uri":         ReasonRewrite,
	"X-Override-Url":         ReasonRewrite,
	"X-Accel-Redirect":       ReasonRewrite,
	"X-Original-Host":        ReasonRewrite,
	"X-Host":                 ReasonRewrite,
	"X-Http-Host-Override":   ReasonRewrite,
}

// dropped are headers that say where a request comes from. The agent does not
// say that: they are not sent on.
var dropped = []string{
	"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Server",
	"X-Forwarded-Prefix", "X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups",
	"X-Forwarded-Scheme", "X-Forwarded-Ssl", "X-Forwarded-Path", "X-Forwarded-Access-Token", "X-Forwarded-Client-Cert", "X-Forwarded-Preferred-Username",
	"X-Real-Ip", "X-Client-Ip", "Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "X-Cluster-Client-Ip", "X-Remote-User", "Remote-User", "X-Remote-Addr", "X-Remote-Group",
	"X-Ssl-Client-Cert", "X-Client-Cert", "X-Client-Dn", "X-Envoy-Original-Path", "X-Envoy-External-Address", "X-Envoy-Internal", "Via",
}

// hopByHop end at the gateway.
var hopByHop = []string{"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings"}

// single are headers that may be there once.
var single = []string{
	"Authorization", "Content-Encoding", "Content-Length", "Content-Location", "Content-Range", "Content-Type", "Expect", "Host", "If-Modified-Since", "If-Range",
	"If-Unmodified-Since", "Origin", "Proxy-Authorization", "Range", "Referer", "Upgrade", "User-Agent",
}

// readHeaders checks the headers of a request and returns those that are sent
// on. upgrade is the protocol that the connection would change to.
func readHeaders(h http.Header, websocket bool) (out http.Header, upgrade string, err error) {
	if len(h) > maxHeaders {
		return nil, "", refuse(ReasonTooLong, "", "the request has more than %d headers", maxHeaders)
	}
	out = make(http.Header, len(h))
	for name, values := range h {
		canonical := http.CanonicalHeaderKey(name)
		switch {
		case strings.Contains(name, "_"):
			return nil, "", refuse(ReasonUnderscore, "Write - instead of _.", "the header %q has an underscore, which some servers take for a dash", clip(name))
		case !httpguts.ValidHeaderFieldName(name):
			return nil, "", refuse(ReasonHeader, "", "the header %q is not a header's name", clip(name))
		case overrides[canonical] == ReasonOverride:
			return nil, "", refuse(ReasonOverride, "Send the method that is meant.", "the header %s changes the method", canonical)
		case overrides[canonical] != "":
			return nil, "", refuse(ReasonRewrite, "Send the URL that is meant.", "the header %s changes the URL", canonical)
		case len(values) > 1 && slices.Contains(single, canonical):
			return nil, "", refuse(ReasonRepeatedHeader, "Send it once.", "the header %s is there more than once", canonical)
		}
		for _, v := range values {
			if !httpguts.ValidHeaderFieldValue(v) {
				return nil, "", refuse(ReasonHeader, "", "the header %s has a value with control bytes", canonical)
			}
			if len(v) > maxHeaderValue {
				return nil, "", refuse(ReasonTooLong, "", "the header %s is longer than %d bytes", canonical, maxHeaderValue)
			}
		}
		out[canonical] = append(out[canonical], values...)
	}
	if e := out.Get("Expect"); e != "" && !strings.EqualFold(e, "100-continue") {
		return nil, "", refuse(ReasonExpect, "", "the header Expect asks for what regate does not do")
	}
	for _, list := range out["Connection"] {
		for token := range strings.SplitSeq(list, ",") {
			token = strings.TrimSpace(token)
			if token == "" || strings.EqualFold(token, "close") || strings.EqualFold(token, "keep-alive") {
				continue
			}
			if !slices.Contains(hopByHop, http.CanonicalHeaderKey(token)) {
				return nil, "", refuse(ReasonConnection, "Name only headers of the connection there.", "the header Connection names %q, which belongs to the request", clip(token))
			}
		}
	}
	if u := out.Get("Upgrade"); u != "" {
		if !strings.EqualFold(u, "websocket") || !websocket {
			return nil, "", refuse(ReasonUpgrade, "Send the request without Upgrade.", "a change of the connection to %q is not let through", clip(u))
		}
		upgrade = "websocket"
	} else if _, settings := out["Http2-Settings"]; settings {
		return nil, "", refuse(ReasonUpgrade, "Send the request without HTTP2-Settings.", "a change of the connection to HTTP/2 is not let through")
	}
	for _, list := range [][]string{hopByHop, dropped} {
		for _, name := range list {
			delete(out, name)
		}
	}
	delete(out, "Expect")
	return out, upgrade, nil
}

// shown returns the chosen headers for a policy, and the names of all.
func shown(h http.Header, chosen []string) (values map[string][]string, names []string) {
	values, names = map[string][]string{}, make([]string, 0, len(h))
	for name, v := range h {
		lower := strings.ToLower(name)
		names = append(names, lower)
		if slices.Contains(chosen, lower) && !slices.Contains(secretHeaders, lower) {
			values[lower] = slices.Clone(v)
		}
	}
	slices.Sort(names)
	return values, names
}

// cookieNames returns the names of the request's cookies, sorted.
func cookieNames(h http.Header) []string {
	names := []string{}
	for _, line := range h["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			name, _, _ := strings.Cut(strings.TrimSpace(pair), "=")
			if name != "" && !slices.Contains(names, name) {
				names = append(names, strings.ToValidUTF8(name, "\uFFFD"))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// clip shortens what an error repeats.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
