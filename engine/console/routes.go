package console

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/sirupsen/logrus"
)

const (
	// maxBody bounds a request body; the longest honest one is a reason.
	maxBody = 64 << 10
	// maxConcurrent bounds requests in progress, each of which may verify a
	// token.
	maxConcurrent = 128
)

func discard() logrus.FieldLogger {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return l
}

// handler answers an authenticated request with a status and a JSON body, or
// with an error that is best a *Problem.
type handler func(ctx context.Context, who *Caller, r *http.Request) (status int, body any, err error)

func (c *Console) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", c.health)
	mux.HandleFunc("GET /readyz", c.ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(c.cfg.Metrics, promhttp.HandlerOpts{}))

	api := func(pattern string, h handler) { mux.Handle(pattern, c.api(h)) }
	api("GET /api/v1/status", c.status)
	api("GET /api/v1/sessions", c.sessions)
	api("GET /api/v1/decisions/{id}/explain", c.explain)
	api("GET /api/v1/approvals", c.listApprovals)
	api("GET /api/v1/approvals/{id}", c.getApproval)
	api("POST /api/v1/approvals/{id}/approve", c.approve)
	api("POST /api/v1/approvals/{id}/deny", c.deny)
	api("GET /api/v1/revocations", c.listRevocations)
	api("POST /api/v1/revocations", c.addRevocation)
	api("DELETE /api/v1/revocations/{key}", c.removeRevocation)
	api("GET /api/v1/mcp/tools", c.listTools)
	api("POST /api/v1/mcp/tools/approve", c.approveTool)
	api("POST /api/v1/mcp/tools/withdraw", c.withdrawTool)

	slots := make(chan struct{}, maxConcurrent)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer c.recoverPanic(w, r)
		if c.pages != nil && !ofAPI(r.URL.Path) {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			c.pages.ServeHTTP(w, r)
			return
		}
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cache-Control", "no-store")

		// Health must answer when the API is busy.
		if r.URL.Path != "/healthz" {
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
			default:
				newProblem(http.StatusServiceUnavailable, ReasonBusy, "too many requests at once", "Try again.").write(w)
				return
			}
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next, pattern := mux.Handler(r)
		if pattern == "" {
			unrouted(w, r, next)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// ofAPI reports whether a path is one of this package's, also where there is
// nothing at it.
func ofAPI(path string) bool {
	return path == "/healthz" || path == "/readyz" || path == "/metrics" || path == "/api" || strings.HasPrefix(path, "/api/")
}

// unrouted turns the mux's plain-text 404 and 405 into problems.
func unrouted(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := &statusRecorder{header: make(http.Header)}
	next.ServeHTTP(rec, r)
	if rec.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", rec.header.Get("Allow"))
		newProblem(rec.status, ReasonMethod, "this address does not take "+r.Method, "").write(w)
		return
	}
	newProblem(http.StatusNotFound, ReasonNotFound, "there is nothing at this address", "").write(w)
}

type statusRecorder struct {
	header http.Header
	status int
}

func (s *statusRecorder) Header() http.Header         { return s.header }
func (s *statusRecorder) WriteHeader(status int)      { s.status = status }
func (s *statusRecorder) Write(b []byte) (int, error) { return len(b), nil }

func (c *Console) recoverPanic(w http.ResponseWriter, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler { //nolint:errorlint // the documented comparison
		panic(p)
	}
	c.log.WithFields(logrus.Fields{"path": r.URL.Path, "panic": p, "stack": string(debug.Stack())}).Error("admin API: panic")
	newProblem(http.StatusInternalServerError, ReasonInternal, "a mistake in regate; the log has it", "").write(w)
}

// api authenticates, calls h and writes its answer.
func (c *Console) api(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := c.authenticate(r.Context(), r)
		if err != nil {
			c.fail(w, r, nil, err)
			return
		}
		status, body, err := h(r.Context(), who, r)
		if err != nil {
			c.fail(w, r, who, err)
			return
		}
		if body == nil {
			w.WriteHeader(status)
			return
		}
		raw, err := json.Marshal(body)
		if err != nil {
			c.fail(w, r, who, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(append(raw, '\n')) // the client is gone; nobody is left to tell
	})
}

// fail writes err as a problem. Only a *Problem shows its text: other errors
// may name hosts and files, and go to the log.
func (c *Console) fail(w http.ResponseWriter, r *http.Request, who *Caller, err error) {
	fields := logrus.Fields{"method": r.Method, "path": r.URL.Path, "remote": r.RemoteAddr}
	if who != nil {
		fields["subject"] = who.Identity.Subject.ID
	}
	p := ProblemOf(err)
	if !errors.Is(err, p) {
		fields["cause"] = err
	}
	fields["reason"] = p.Reason
	if p.Status >= 500 {
		c.log.WithFields(fields).Error("admin API: failed")
	} else {
		c.log.WithFields(fields).Info("admin API: refused")
	}
	p.write(w)
}

// readJSON decodes a body strictly: one object, known fields only. An empty
// body is an empty object where optional allows it.
func readJSON(r *http.Request, into any, optional bool) error {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		var big *http.MaxBytesError
		if errors.As(err, &big) {
			return newProblem(http.StatusRequestEntityTooLarge, ReasonTooLarge, "the body is longer than 64 KiB", "")
		}
		return newProblem(http.StatusBadRequest, ReasonMalformed, "the body cannot be read", "")
	}
	if len(raw) == 0 && optional {
		return nil
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return newProblem(http.StatusUnsupportedMediaType, ReasonMediaType, "the body must be application/json", "")
	}
	return decodeStrict(raw, into)
}
