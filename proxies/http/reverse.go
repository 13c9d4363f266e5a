package httpproxy

import (
	"net/http"
	"slices"
	"strings"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/proxies/http/request"
)

// reverseHandler serves the targets that are behind a listener.
func (s *Server) reverseHandler(behind []*target, secure bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{s: s, w: w, r: r, secure: secure}
		scheme := "http"
		if secure {
			scheme = "https"
		}
		host, path, query, err := request.Target(r.RequestURI, r.Host, scheme, false)
		if err != nil {
			// Nobody is known yet: there is no session to record it in.
			denyAs(w, asDenial(err), statusOfError(err, asDenial(err)), false)
			return
		}
		t, rest := route(behind, host.Host, path)
		if t == nil {
			deny(w, &engine.Denial{Reasons: []string{ReasonTarget}, Message: "no API of this gateway is at this host or path", Hint: "Ask the operator for its address."}, false)
			return
		}
		x.t, x.origin, x.query, x.path = t, t.origin, query, t.base+rest
		name := "Authorization"
		if _, ok := r.Header["Proxy-Authorization"]; ok {
			name = "Proxy-Authorization"
		}
		x.header = name
		if x.token, err = bearer(r.Header, name); err != nil {
			deny(w, asDenial(err), false)
			return
		}
		x.serve()
	})
}

// route finds the target of a request, and its path without what named the
// target.
func route(behind []*target, host, path string) (*target, string) {
	for _, t := range behind {
		if slices.Contains(t.hosts, host) && (t.prefix == "" || under(path, t.prefix)) {
			return t, trim(path, t.prefix)
		}
	}
	var best *target
	for _, t := range behind {
		if len(t.hosts) == 0 && t.prefix != "" && under(path, t.prefix) && (best == nil || len(t.prefix) > len(best.prefix)) {
			best = t
		}
	}
	if best != nil {
		return best, trim(path, best.prefix)
	}
	if len(behind) == 1 && len(behind[0].hosts) == 0 && behind[0].prefix == "" {
		return behind[0], path
	}
	return nil, ""
}

func under(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

func trim(path, prefix string) string {
	if rest := strings.TrimPrefix(path, prefix); rest != "" {
		return rest
	}
	return "/"
}
