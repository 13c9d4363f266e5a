package policies_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/mask"
	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/policies"
	httpproxy "github.com/regate-dev/regate/proxies/http"
	httprequest "github.com/regate-dev/regate/proxies/http/request"
	"github.com/regate-dev/regate/proxies/kubernetes"
	"github.com/regate-dev/regate/proxies/kubernetes/request"
	"github.com/regate-dev/regate/proxies/mcp"
	"github.com/regate-dev/regate/proxies/mcp/message"
	"github.com/regate-dev/regate/proxies/postgres"
	"github.com/regate-dev/regate/proxies/postgres/catalog"
	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

var update = flag.Bool("update", false, "rewrite what is generated in docs/packs, and the catalogue of the examples' database")

// world is what the examples are about.
type world struct {
	view   postgres.View
	routes *httprequest.Routes
	tools  map[string]*message.Tool
	detect *mask.Detector
	sets   map[string]*policy.Set // by pack and settings
}

func newWorld(t *testing.T) *world {
	t.Helper()
	const dump = "testdata/shop.catalog.json"
	if *update {
		dumpCatalog(t, dump)
	}
	w := &world{tools: map[string]*message.Tool{}, sets: map[string]*policy.Set{}}
	var err error
	if w.detect, err = mask.NewDetector(mask.Kinds()); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(dump)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	snapshot, by, err := catalog.ReadDump(f)
	if err != nil {
		t.Fatal(err)
	}
	w.view = postgres.View{Catalog: snapshot, User: by.User, SearchPath: by.SearchPath}
	document, err := os.ReadFile("testdata/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if w.routes, err = httprequest.LoadRoutes(document, ""); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile("testdata/tools.json")
	if err != nil {
		t.Fatal(err)
	}
	var tools []json.RawMessage
	if err := json.Unmarshal(raw, &tools); err != nil {
		t.Fatal(err)
	}
	for _, one := range tools {
		tool, err := message.ReadTool(one)
		if err != nil {
			t.Fatal(err)
		}
		w.tools[tool.Name] = tool
	}
	return w
}

// dumpCatalog makes the examples' database in a real server and writes what
// regate reads of it.
func dumpCatalog(t *testing.T, to string) {
	t.Helper()
	db := pgtest.Shared(t)
	sql, err := os.ReadFile("testdata/shop.sql")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Run(t.Context(), string(sql)); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), db.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	view, err := postgres.ReadView(t.Context(), conn, "", "")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := view.Catalog.WriteDump(&b, catalog.Session{User: view.User, SearchPath: view.SearchPath}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// document is what the gateway would ask policies about, or the reason for
// which it would refuse without.
func (w *world) document(t *testing.T, row map[string]string) (*input.Document, string) {
	t.Helper()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	if at := row["time"]; at != "" {
		var err error
		if now, err = time.Parse(time.RFC3339, strings.Trim(at, "`")); err != nil {
			t.Fatal(err)
		}
	}
	id := &identity.Identity{Subject: principal("alice", row["as"]), TokenID: "t", ExpiresAt: now.Add(time.Hour)}
	if groups, ok := row["acting"]; ok && groups != "" {
		actor := principal("agent-7", groups)
		id.Actor = &actor
	}
	env := "prod"
	if e := row["environment"]; e != "" {
		env = e
	}
	labels := map[string]string{"env": env}
	asserted := input.Asserted{Task: row["task"]}
	doc, err := w.read(t, row, id, labels, asserted, now)
	if refused, ok := err.(*engine.Denial); ok {
		return nil, refused.Reason()
	}
	if err != nil {
		t.Fatalf("%v: %v", row, err)
	}
	return doc, ""
}

func principal(id, groups string) input.Principal {
	p := input.Principal{ID: id, Issuer: "https://issuer.example", Groups: []string{}, Scopes: []string{}, Claims: map[string]any{}}
	for g := range strings.SplitSeq(groups, ",") {
		if g = strings.TrimSpace(g); g != "" {
			p.Groups = append(p.Groups, g)
		}
	}
	return p
}

func (w *world) read(t *testing.T, row map[string]string, id *identity.Identity, labels map[string]string, asserted input.Asserted, now time.Time) (*input.Document, error) {
	t.Helper()
	switch {
	case row["statement"] != "":
		p, err := postgres.NewPreview(postgres.PreviewConfig{
			Target: &postgres.Target{Name: "shop", Labels: labels}, Identity: id, Database: "shop", View: w.view, Now: now,
			Client: postgres.Client{Asserted: asserted},
		})
		if err != nil || row["statement"] == "connect" {
			return open(p, err)
		}
		list, err := p.Query(spans(row["statement"])[0])
		if err != nil {
			return nil, err
		}
		if list[0].Refused != nil {
			return nil, list[0].Refused
		}
		return list[0].Document, nil
	case row["request to the API server"] != "":
		p := kubernetes.NewPreview(kubernetes.PreviewConfig{Target: "cluster", Labels: labels, Identity: id, Client: kubernetes.Client{Asserted: asserted}, Now: now})
		if row["request to the API server"] == "connect" {
			return open(p, nil)
		}
		parts := spans(row["request to the API server"])
		method, target, _ := strings.Cut(parts[0], " ")
		raw := request.Raw{Method: method, Target: target, Header: http.Header{}}
		if len(parts) > 1 {
			raw.Body = []byte(parts[1])
			raw.Header.Set("Content-Type", "application/json")
			if method == "PATCH" {
				raw.Header.Set("Content-Type", "application/merge-patch+json")
			}
		}
		for _, stream := range []string{"/exec", "/attach", "/portforward"} { // as kubectl asks for it
			if path, _, _ := strings.Cut(target, "?"); strings.HasSuffix(path, stream) {
				raw.Header.Set("Connection", "Upgrade")
				raw.Header.Set("Upgrade", "SPDY/3.1")
			}
		}
		return p.Request(raw)
	case row["request"] != "":
		p, err := httpproxy.NewPreview(httpproxy.PreviewConfig{
			Target: "api", Labels: labels, Identity: id, Client: httpproxy.Client{Asserted: asserted}, Now: now,
			Request: httprequest.Options{Routes: w.routes, WebSocket: true},
		})
		if err != nil || row["request"] == "connect" {
			return open(p, err)
		}
		parts := spans(row["request"])
		method, url, _ := strings.Cut(parts[0], " ")
		m, err := httprequest.FromURL(method, url)
		if err != nil {
			return nil, err
		}
		in, err := m.Incoming("https", true)
		if err != nil {
			return nil, err
		}
		for _, line := range parts[1:] {
			if key, value, ok := strings.Cut(line, ": "); ok && !strings.HasPrefix(line, "{") {
				in.Header.Set(key, value)
				continue
			}
			m.Body, in.HasBody = []byte(line), true
			if in.Header.Get("Content-Type") == "" {
				in.Header.Set("Content-Type", "application/json")
			}
		}
		return p.Request(in, m.Body)
	case row["message"] != "":
		p, err := mcp.NewPreview(mcp.PreviewConfig{Target: "shop", Labels: labels, Identity: id, Client: mcp.Client{Asserted: asserted}, Version: message.Version2025c, Now: now})
		if err != nil || row["message"] == "connect" {
			return open(p, err)
		}
		return w.message(p.Open(), row)
	}
	t.Fatalf("nothing is asked in %v", row)
	return nil, nil
}

// message is a document of stage request, from that of the session.
func (w *world) message(doc *input.Document, row map[string]string) (*input.Document, error) {
	parts := spans(row["message"])
	body := map[string]any{"jsonrpc": "2.0", "id": 1, "method": parts[0]}
	c := message.Context{Server: "shop", Transport: "http", Version: message.Version2025c, ToClient: row["sent by"] == "server"}
	if len(parts) > 1 {
		body["params"] = json.RawMessage(parts[1])
		var params struct{ Name string }
		if err := json.Unmarshal([]byte(parts[1]), &params); err != nil {
			return nil, err
		}
		state := "approved"
		if s := row["its tool is"]; s != "" {
			state = s
		}
		if tool := w.tools[params.Name]; tool != nil && parts[0] == "tools/call" {
			c.Tool = tool.Described(state, "", nil)
		}
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	list, _, err := message.Parse(raw)
	if err != nil {
		return nil, err
	}
	d, err := message.Decode(list[0], c)
	if err != nil {
		return nil, err
	}
	d.Find(w.detect)
	made := d.Parts()
	doc.Stage = input.StageRequest
	doc.Action, doc.Resource, doc.Detail, doc.Unknown, doc.Complete = made.Action, made.Resource, made.Detail, made.Unknown, made.Complete
	return doc, nil
}

func open(p interface{ Open() *input.Document }, err error) (*input.Document, error) {
	if err != nil {
		return nil, err
	}
	return p.Open(), nil
}

// set is a pack with settings, and a policy that allows everything where the
// pack does not say what is allowed.
func (w *world) set(t *testing.T, p policies.Pack, settings string) *policy.Set {
	t.Helper()
	if known := w.sets[p.Name+settings]; known != nil {
		return known
	}
	dir := t.TempDir()
	if _, err := policies.Export(dir, []string{p.Name}, false); err != nil {
		t.Fatal(err)
	}
	site := t.TempDir()
	write(t, site, ".manifest", `{"roots": ["regate/settings", "regate/policies/site"]}`)
	write(t, site, "data.json", `{"regate": {"settings": {}}}`)
	var given map[string]json.RawMessage
	if err := json.Unmarshal([]byte(settings), &given); err != nil {
		t.Fatalf("settings of %s: %v", p.Name, err)
	}
	if len(given) > 0 {
		write(t, site, "data.json", settings)
	}
	allows := false
	for _, r := range p.Rules {
		allows = allows || r.Kind == "allow"
	}
	if !allows {
		write(t, site, "all.rego", "package regate.policies.site.all\n\nallow contains {\"id\": \"site.all/all\"}\n")
	}
	set, err := policy.LoadSet(t.Context(), policy.SetOptions{Paths: []string{dir, site}, SkipTests: true})
	if err != nil {
		t.Fatal(err)
	}
	w.sets[p.Name+settings] = set
	return set
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
