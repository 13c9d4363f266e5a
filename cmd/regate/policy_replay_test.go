package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/regate-dev/regate/engine/policy/backtest"
	"github.com/regate-dev/regate/engine/policy/corpus"
)

// replaySite is a gateway that has recorded real sessions of a real database
// and was stopped.
type replaySite struct {
	*site
	archive, index string
}

const replayPolicy = `# METADATA
# scope: package
# custom:
#   regate: {protocols: [postgres], mode: enforce}
package regate.policies.acme.sql

allow contains {"id": "acme.sql/connect"} if input.action.verb == "connect"

allow contains {"id": "acme.sql/read"} if input.action.verb == "select"

allow contains {"id": "acme.sql/write"} if input.action.verb in {"insert", "update"}

deny contains {"id": "acme.sql/no-where", "msg": "no WHERE"} if {
	input.action.verb == "update"
	input.action.has_where == false
}

require_approval contains {"id": "acme.sql/hold", "from": ["group:dba"], "wait": "0s"} if input.action.verb == "update"

limit contains {"id": "acme.sql/rows", "rows": 100} if input.action.verb == "select"

mask contains {"id": "acme.sql/hidden", "field": "public.marks.hidden", "method": "redact"} if true

mask contains {"id": "acme.sql/cards", "detect": "credit_card", "method": "redact"} if input.stage == "response"
`

// recordTraffic runs statements through a gateway of its own, with errors where
// they are refused, and stops it.
func recordTraffic(t *testing.T, statements ...string) *replaySite {
	t.Helper()
	s := newSite(t)
	writeFile(t, filepath.Join(s.dir, "policies", "p.rego"), replayPolicy+"\n# read: input.response\nrecord contains {\"id\": \"acme.sql/r\", \"level\": \"full\"} if count(input.response.fields) > 1000\n")
	p := s.serve(t)
	conn, err := pgx.ConnectConfig(t.Context(), p.login(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range statements {
		_, err := conn.Exec(t.Context(), sql)
		t.Logf("%s: %v", sql, err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.stop(t)
	return &replaySite{site: s, archive: filepath.Join(s.state, "archive"), index: filepath.Join(s.state, "index.db")}
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *replaySite) policy(t *testing.T, name string, changes ...string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(s.dir, "policies", "p.rego"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(changes...).Replace(string(raw))
	if len(changes) > 0 && text == string(raw) {
		t.Fatalf("no change in %q", changes)
	}
	dir := filepath.Join(s.dir, name)
	writeFile(t, filepath.Join(dir, "p.rego"), text)
	return dir
}

func replayJSON(t *testing.T, want int, args ...string) replayed {
	t.Helper()
	out := regate(t, want, append(append([]string{"policy", "replay"}, args...), "-o", "json")...)
	var r replayed
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return r
}

// TestReplayRecordings replays what a real gateway recorded of a real database.
func TestReplayRecordings(t *testing.T) {
	s := recordTraffic(t,
		"SELECT mark FROM marks", "SELECT hidden FROM marks", "SELECT mark FROM marks WHERE mark = 'secret value'",
		"SELECT mark FROM marks", "INSERT INTO marks VALUES ('a', 'b')", "UPDATE marks SET mark = 'x'",
		"UPDATE marks SET mark = 'x' WHERE mark = 'a'", "DELETE FROM marks", "this is no SQL", "SELECT nothing FROM nowhere",
	)
	t.Chdir(s.dir) // the configuration's paths are as serve sees them
	where := []string{"-c", s.config, "--since", "1h"}

	// The bundle that decided decides the same again, also by another path.
	for _, args := range [][]string{{"--bundle", "policies"}, {"--bundle", s.policy(t, "copy"), "--baseline", "policies", "--fail-on", "any"}} {
		r := replayJSON(t, 0, append(args, where...)...)
		if r.Flips() != 0 || len(r.Changes) != 0 || r.Compared < 10 || r.Unchanged != r.Compared || r.Baseline.Reproduced != r.Compared || r.Baseline.Differs != 0 {
			t.Errorf("%v: %+v", args, r.Report)
		}
		if len(r.Outside) != 1 || r.Outside[0].Name != "postgres/parse-error" {
			t.Errorf("left out: %+v", r.Outside)
		}
	}

	for _, c := range []struct {
		name    string
		changes []string
		want    map[backtest.Kind]int64
	}{
		{"deny", []string{`sql/read"} if input.action.verb == "select"`, `sql/read"} if input.action.verb == "nothing"`}, map[backtest.Kind]int64{backtest.NewlyDenied: 5}},
		{"allow", []string{`{"insert", "update"}`, `{"insert", "update", "delete"}`}, map[backtest.Kind]int64{backtest.NewlyAllowed: 1}},
		{"where", []string{`input.action.has_where == false`, `input.action.has_where == false; false`}, map[backtest.Kind]int64{backtest.NewlyApprovable: 1}},
		{"hold", []string{`"wait": "0s"} if input.action.verb == "update"`, `"wait": "0s"} if input.action.verb in {"update", "insert"}`}, map[backtest.Kind]int64{backtest.NewlyHeld: 1}},
		{"pass", []string{`"wait": "0s"} if input.action.verb == "update"`, `"wait": "0s"} if input.action.verb == "merge"`}, map[backtest.Kind]int64{backtest.NewlyAllowed: 1}},
		{"rows", []string{`"rows": 100`, `"rows": 1000`}, map[backtest.Kind]int64{backtest.LimitRaised: 9}},
		{"weaker", []string{`"method": "redact"} if true`, `"method": "hash"} if true`}, map[backtest.Kind]int64{backtest.WeakerMask: 4}},
		{"unmasked", []string{`"method": "redact"} if true`, `"method": "redact"} if false`}, map[backtest.Kind]int64{backtest.NewlyUnmasked: 4}},
	} {
		dir := s.policy(t, "new-"+c.name, c.changes...)
		r := replayJSON(t, 0, append([]string{"--bundle", dir}, where...)...)
		for kind, want := range c.want {
			if got := r.Of(kind).Count; got != want {
				t.Errorf("%s: %d %s, want %d: %+v", c.name, got, kind, want, r.Changes)
			}
		}
		for _, got := range r.Changes {
			if _, ok := c.want[got.Kind]; !ok {
				t.Errorf("%s: also %s %d: %+v", c.name, got.Kind, got.Count, got)
			}
			if len(got.ByAgent) == 0 || len(got.ByTable) == 0 || len(got.Examples) == 0 {
				t.Errorf("%s: %+v", c.name, got)
			}
		}
	}

	// Nothing that a report shows holds a value.
	dir := filepath.Join(s.dir, "new-deny")
	text := regate(t, 1, append([]string{"policy", "replay", "--bundle", dir, "--fail-on", "newly-denied"}, where...)...)
	wantAll(t, text, "check: the bundle that decided reproduces", "newly-denied: 5 decisions", "-acme.sql/read", "+engine/no-allow", "public.marks", "SELECT mark FROM marks WHERE mark = $1")
	markdown := regate(t, 0, append([]string{"policy", "replay", "--bundle", dir, "-o", "markdown", "--fail-on", "newly-allowed"}, where...)...)
	wantAll(t, markdown, "### Policy replay: 5 changes", "| newly-denied | tighter | 5 |", "engine/no-allow")
	for _, out := range []string{text, markdown} {
		if strings.Contains(out, "secret value") {
			t.Errorf("a value is in the report:\n%s", out)
		}
	}

	// The same from a file, without the archive; with the deciding bundle, with
	// another, and with none.
	var lines strings.Builder
	for _, line := range strings.SplitAfter(regate(t, 0, "sessions", "export", "-c", s.config), "\n") {
		lines.WriteString(line)
	}
	file := filepath.Join(t.TempDir(), "recorded.ndjson")
	writeFile(t, file, lines.String())
	t.Chdir(t.TempDir())
	r := replayJSON(t, 0, "--bundle", filepath.Join(s.dir, "policies"), "--baseline", filepath.Join(s.dir, "policies"), file)
	if r.Compared < 10 || len(r.Changes) != 0 || r.Baseline.Reproduced != r.Compared {
		t.Errorf("from a file: %+v", r.Report)
	}
	wantAll(t, regate(t, 0, "policy", "replay", "--bundle", filepath.Join(s.dir, "policies"), file), "not checked: the bundle that decided is not at hand (no configuration names a bundle)", "made by: main")
	wantAll(t, regate(t, 0, "policy", "replay", "--bundle", filepath.Join(s.dir, "policies"), "--baseline", dir, file),
		"none of these decisions was made by the baseline", "of which it would decide 5 otherwise")
	wantAll(t, regate(t, 1, "policy", "replay", "--bundle", filepath.Join(s.dir, "policies"), "--agent", "nobody", file), "no decision was found")
}

// TestReplayDamaged: what was damaged is said, and never passes in silence.
func TestReplayDamaged(t *testing.T) {
	s := recordTraffic(t, "SELECT mark FROM marks", "SELECT hidden FROM marks")
	t.Chdir(s.dir)
	args := []string{"policy", "replay", "--bundle", "policies", "-c", s.config}
	wantAll(t, regate(t, 0, args...), "nothing would change")
	var object string
	err := filepath.WalkDir(s.archive, func(path string, d os.DirEntry, err error) error {
		if strings.HasSuffix(path, ".cbor.zst") {
			info, err := d.Info()
			if err != nil {
				return err
			}
			if old, err := os.Stat(object); err != nil || old.Size() < info.Size() {
				object = path
			}
		}
		return err
	})
	if err != nil || object == "" {
		t.Fatal(err, object)
	}
	whole, err := os.ReadFile(object)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 16 {
		broken := append([]byte{}, whole...)
		switch at := len(whole) * (2*n + 1) / 32; {
		case n%2 == 0:
			broken[at] ^= 0x40
		default:
			broken = broken[:at]
		}
		if err := os.WriteFile(object, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		out := regate(t, 1, args...)
		if !strings.Contains(out, "NOT EVERYTHING COULD BE READ") {
			t.Errorf("change %d: %s", n, out)
		}
	}
	if err := os.WriteFile(object, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	wantAll(t, regate(t, 0, args...), "nothing would change")
}

// TestReplayLive: a running gateway's recordings can be replayed, those of open
// sessions too.
func TestReplayLive(t *testing.T) {
	s := newSite(t)
	p := s.serve(t)
	conn, err := pgx.ConnectConfig(t.Context(), p.login(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for range 3 {
		if _, err := conn.Exec(t.Context(), "SELECT mark FROM marks"); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(s.dir)
	want := int64(4)
	for end := time.Now().Add(awaitFor); ; time.Sleep(20 * time.Millisecond) {
		var from recordedFlags
		from.where.config = s.config
		source, closer, err := from.source(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var list []corpus.Recorded
		for r, err := range source {
			if err != nil {
				t.Logf("meanwhile: %v", err)
				continue
			}
			list = append(list, r)
		}
		if err := closer(); err != nil {
			t.Fatal(err)
		}
		if int64(len(list)) >= want {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d decisions of an open session, want %d", len(list), want)
		}
	}
	if out := regate(t, 0, "policy", "replay", "--bundle", "policies", "-c", s.config); !strings.Contains(out, fmt.Sprintf("reproduces %d of", want)) {
		t.Error(out)
	}
}
