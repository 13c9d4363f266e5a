package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed static vendored
var files embed.FS

// assets are style and scripts by the path under /static/: the digest of the
// content and the name, so that a browser may keep each for ever.
type assets struct {
	byPath map[string]asset
	paths  map[string]string // name → path
}

type asset struct {
	kind string
	body []byte
}

var kinds = map[string]string{
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

func loadAssets() (assets, error) {
	a := assets{byPath: map[string]asset{}, paths: map[string]string{}}
	for _, dir := range []string{"static", "vendored"} {
		list, err := fs.ReadDir(files, dir)
		if err != nil {
			return a, fmt.Errorf("console: %w", err)
		}
		for _, f := range list {
			kind := kinds[path.Ext(f.Name())]
			if kind == "" {
				continue
			}
			body, err := files.ReadFile(dir + "/" + f.Name())
			if err != nil {
				return a, fmt.Errorf("console: %w", err)
			}
			sum := sha256.Sum256(body)
			at := "/static/" + hex.EncodeToString(sum[:8]) + "/" + f.Name()
			a.byPath[at], a.paths[f.Name()] = asset{kind, body}, at
		}
	}
	return a, nil
}

// path is where a file is served, for templates. A name that is not there is a
// mistake in a template.
func (a assets) path(name string) (string, error) {
	at, ok := a.paths[name]
	if !ok {
		return "", fmt.Errorf("no asset %q", name)
	}
	return at, nil
}

func (a assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	found, ok := a.byPath[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", found.kind)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	if strings.HasSuffix(r.URL.Path, ".svg") {
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	}
	_, _ = w.Write(found.body)
}
