package web

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/regate-dev/regate/engine/approval"
	"github.com/regate-dev/regate/engine/console"
)

//go:embed templates
var templates embed.FS

// views are the pages' templates by name: each is the frame with its own
// content.
type views map[string]*template.Template

// page is what the frame shows.
type page struct {
	Title   string
	Nav     string // the section, to be marked
	Content any

	// Filled in by render.
	Gateway  string
	Who      *visit // nil: nobody is signed in
	Pending  int    // requests that wait and concern this person
	Terminal bool   // the page needs the player
}

func (p *Pages) parseViews() (views, error) {
	frame, err := template.New("frame").Funcs(p.funcs()).ParseFS(templates, "templates/frame.html", "templates/parts.html")
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	list, err := fs.Glob(templates, "templates/*.html")
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	out := views{}
	for _, file := range list {
		name := strings.TrimSuffix(path.Base(file), ".html")
		if name == "frame" || name == "parts" {
			continue
		}
		one, err := frame.Clone()
		if err == nil {
			one, err = one.ParseFS(templates, file)
		}
		if err != nil {
			return nil, fmt.Errorf("console: %w", err)
		}
		out[name] = one
	}
	return out, nil
}

// render writes a page, all of it or none.
func (p *Pages) render(w http.ResponseWriter, status int, name string, v *visit, pg page) {
	pg.Gateway, pg.Who = p.cfg.Gateway, v
	if v != nil {
		if list, _, err := p.cfg.API.Tickets(v.who, string(approval.Pending), approval.MaxList); err == nil {
			pg.Pending = len(list)
		}
	}
	var out bytes.Buffer
	if err := p.views[name].ExecuteTemplate(&out, "frame", pg); err != nil {
		p.log.WithError(err).WithField("page", name).Error("console: a page cannot be shown")
		http.Error(w, "A mistake in regate; the log has it.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	if pg.Terminal {
		h.Set("Content-Security-Policy", terminalPolicy)
	}
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes()) // the client is gone; nobody is left to tell
}

// fail shows an error as a page. Only a *console.Problem shows its text: other
// errors may name hosts and files, and go to the log.
func (p *Pages) fail(w http.ResponseWriter, r *http.Request, v *visit, err error) {
	if errors.Is(err, r.Context().Err()) && r.Context().Err() != nil {
		return // nobody waits for it
	}
	problem := console.ProblemOf(err)
	fields := logrus.Fields{"method": r.Method, "path": r.URL.Path, "reason": problem.Reason}
	if v != nil {
		fields["subject"] = v.session.Subject
	}
	if problem.Status >= http.StatusInternalServerError {
		p.log.WithFields(fields).WithField("cause", err).Error("console: failed")
	} else {
		p.log.WithFields(fields).Debug("console: refused")
	}
	p.render(w, problem.Status, "problem", v, page{Title: http.StatusText(problem.Status), Content: problem})
}

func (p *Pages) funcs() template.FuncMap {
	return template.FuncMap{
		"asset":    p.assets.path,
		"visible":  visible,
		"line":     oneLine,
		"clip":     clip,
		"sql":      func(s string) template.HTML { return highlight("sql", s) },
		"json":     prettyJSON,
		"rego":     func(s string) template.HTML { return highlight("rego", s) },
		"ago":      func(t time.Time) string { return ago(p.now(), t) },
		"clock":    func(t time.Time) string { return t.UTC().Format("15:04:05") },
		"stamp":    func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
		"iso":      func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"span":     shortDuration,
		"bytes":    byteSize,
		"count":    counted,
		"short":    shortID,
		"effect":   effectWord,
		"host":     issuerHost,
		"digest":   shortDigest,
		"join":     func(list []string) string { return strings.Join(list, ", ") },
		"protocol": protocolWord,
		"dict":     dict,
		"number":   number,
	}
}

// dict makes a map for a template's call, of names and values in turn.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, errors.New("dict: a name without a value")
	}
	out := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict: %v is no name", pairs[i])
		}
		out[name] = pairs[i+1]
	}
	return out, nil
}
