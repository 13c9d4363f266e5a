package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/policy/explain"
)

// TestShadowThenPromoted takes a stricter candidate of a bundle from shadow to
// enforced at a real gateway: in shadow it changes no answer and its flips are
// counted by rule; the configuration promotes it; a refusal is then explained by
// the gateway and from the archive.
func TestShadowThenPromoted(t *testing.T) {
	s := newSite(t)
	next := filepath.Join(s.dir, "next")
	current, err := os.ReadFile(filepath.Join(s.dir, "policies", "p.rego"))
	if err != nil {
		t.Fatal(err)
	}
	candidate := string(current) + `
deny contains {"id": "acme.sql/no-where", "msg": "say which rows"} if {
	input.action.verb == "delete"
	input.action.has_where == false
}
`
	if err := errors.Join(os.Mkdir(next, 0o700), os.WriteFile(filepath.Join(next, "p.rego"), []byte(candidate), 0o600),
		os.WriteFile(filepath.Join(next, ".manifest"), []byte(`{"revision": "v2"}`), 0o600)); err != nil {
		t.Fatal(err)
	}
	configure := func(bundles string) {
		t.Helper()
		raw, err := os.ReadFile(s.config)
		if err != nil {
			t.Fatal(err)
		}
		text := regexp.MustCompile(`bundles: \[.*\],`).ReplaceAllLiteralString(string(raw), "bundles: ["+bundles+"],")
		if !strings.Contains(text, "operator") {
			text = strings.Replace(text, `"127.0.0.1:0"}`, `"127.0.0.1:0", roles: {operator: {groups: [ops]}, viewer: {groups: [viewers]}}}`, 1)
		}
		if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	token := func(group string) string {
		return s.issuer.Mint(s.issuer.Claims("regate", time.Now(), map[string]any{"sub": "olga", "groups": []string{group}}))
	}
	remove := func(p *serving) error {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), awaitFor)
		defer cancel()
		conn, err := pgx.ConnectConfig(ctx, p.login(t))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, "DELETE FROM marks")
		return err
	}

	configure(`{name: main, paths: [policies]}, {name: next, paths: [next], mode: shadow}`)
	p := s.serve(t)
	if err := remove(p); err != nil {
		t.Fatalf("in shadow: %v", err)
	}
	var status policy.Status
	for end := time.Now().Add(awaitFor); len(status.Shadow) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no flips: %+v", status)
		}
		t.Setenv("REGATE_TOKEN", token("ops"))
		if err := json.Unmarshal([]byte(regate(t, 0, "policy", "status", "--url", "http://"+p.admin, "--output", "json")), &status); err != nil {
			t.Fatal(err)
		}
	}
	f := status.Shadow[0]
	if f.Bundle != "next" || f.Rule != "acme.sql/no-where" || f.From != policy.Allow || f.To != policy.Deny || f.Count != 1 || f.Request == "" {
		t.Errorf("flip %+v", f)
	}
	wantAll(t, regate(t, 0, "policy", "status", "--url", "http://"+p.admin),
		"shadow of main", "v2", "allow → deny", "acme.sql/no-where", "bundle next", "acme.sql", "enforce")
	if _, metrics, err := call("", "GET", "http://"+p.admin+"/metrics", ""); err != nil ||
		!strings.Contains(metrics, `regate_policy_shadow_rule_flips_total{bundle="next",from="allow",package="",rule="acme.sql/no-where",to="deny"} 1`) {
		t.Errorf("metrics: %v", err)
	}
	p.stop(t)

	// Promoted by configuration alone.
	configure(`{name: main, paths: [next]}`)
	p = s.serve(t)
	var refused *pgconn.PgError
	if err := remove(p); !errors.As(err, &refused) || !strings.Contains(refused.Detail, "acme.sql/no-where") {
		t.Fatalf("promoted: %v", err)
	}
	id := regexp.MustCompile(`[0-9A-HJKMNP-TV-Z]{26}-\d+`).FindString(refused.Detail + " " + refused.Hint + " " + refused.Message)
	if id == "" {
		t.Fatalf("no decision id in %+v", refused)
	}

	// The gateway explains it to those who may see recordings.
	url := "http://" + p.admin
	path := url + "/api/v1/decisions/" + id + "/explain"
	if code, _, err := call(token("viewers"), "GET", path, ""); err != nil || code != 403 {
		t.Errorf("a viewer gets %d, %v", code, err)
	}
	if code, body, err := call(token("ops"), "GET", url+"/api/v1/decisions/nonsense/explain", ""); err != nil || code != 404 {
		t.Errorf("nonsense gets %d %s, %v", code, body, err)
	}
	for end := time.Now().Add(awaitFor); ; time.Sleep(20 * time.Millisecond) {
		code, body, err := call(token("ops"), "GET", path, "")
		if err == nil && code == 200 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("explain: %d %s, %v", code, body, err)
		}
	}
	t.Setenv("REGATE_TOKEN", token("ops"))
	want := []string{
		"Decision " + id, "because acme.sql/no-where", "the one that decided",
		"input.action.has_where", "from false", "to   true", "acme.sql/all",
	}
	wantAll(t, regate(t, 0, "policy", "explain", id, "--url", url), want...)
	p.stop(t)

	// And from the archive, without a gateway.
	if err := os.Unsetenv("REGATE_TOKEN"); err != nil {
		t.Fatal(err)
	}
	t.Chdir(s.dir) // paths in the configuration are relative to it
	wantAll(t, regate(t, 0, "policy", "explain", id, "-c", s.config), want...)
	var found explain.Explanation
	session, turn, _ := strings.Cut(id, "-")
	if err := json.Unmarshal([]byte(regate(t, 0, "policy", "explain", "--session", session, "--turn", turn, "-c", s.config, "--output", "json")), &found); err != nil {
		t.Fatal(err)
	}
	if found.Effect != policy.Deny || found.Recorded.DecisionID != id || len(found.Warnings) != 0 || len(found.Changes) == 0 {
		t.Errorf("explained %+v", found)
	}
	// By the policies of before it is another decision, and that is said.
	wantAll(t, regate(t, 0, "policy", "explain", id, "-c", s.config, "--bundle", filepath.Join(s.dir, "policies")),
		"warning: ", "recorded was deny, the policies at hand say allow")
	wantAll(t, regate(t, 1, "policy", "explain", session+"-99", "-c", s.config), "no such decision")
}
