package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/oklog/ulid/v2"

	"github.com/regate-dev/regate/engine/record"
	"github.com/regate-dev/regate/proxies/postgres/replay"
)

// recordSession records one session as a gateway with that state folder would,
// and stops the gateway. It returns the session's id.
func recordSession(t *testing.T, dir string) string {
	t.Helper()
	return recordSessions(t, dir, 1)[0]
}

// recordSessions records several sessions in one run.
func recordSessions(t *testing.T, dir string, count int) (ids []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	key, err := record.LoadOrCreateKey(filepath.Join(dir, "keys", "receipts.pem"))
	check(err)
	log, err := record.OpenLog(filepath.Join(dir, "journal"), record.LogOptions{})
	check(err)
	j, err := record.OpenJournal(ctx, record.JournalOptions{Log: log, Gateway: "gw", Key: key})
	check(err)
	bucket, _, err := openArchive(ctx, "file://"+filepath.Join(dir, "archive"))
	check(err)
	index, err := record.OpenIndex(filepath.Join(dir, "index.db"))
	check(err)
	r, err := record.OpenRecorder(ctx, record.RecorderOptions{
		Log: log, Dir: filepath.Join(dir, "spool"), Bucket: bucket, Index: index, Key: key,
	})
	check(err)

	for range count {
		ids = append(ids, recordOne(t, ctx, j))
	}
	check(j.Close(ctx))
	check(r.Flush(ctx))
	check(r.Close(ctx))
	check(index.Close())
	check(bucket.Close())
	check(log.Close())
	return ids
}

func recordOne(t *testing.T, ctx context.Context, j *record.Journal) string {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w, _ := j.Begin(record.Header{Protocol: "postgres", Target: "shop", Subject: "alice", Actor: "agent-7",
		Asserted: []byte(`{"purpose":"a report\u001b","step":"","task":"","ticket":"T-1"}`)})
	for n, s := range []struct{ effect, text, ticket string }{
		{effect: "allow", text: "SELECT email\nFROM users"}, {effect: "deny", text: "DROP TABLE users -- \x1b[2J\u202e"},
		{effect: "allow", text: "SELECT 1 AS n", ticket: "ap-1"},
	} {
		turn := uint64(n + 1)
		root := sha256.New()
		part := func(v any) uint32 {
			raw, err := json.Marshal(v)
			check(err)
			return w.Intern(sha256.Sum256(raw), raw)
		}
		entry := func(key string, v any) record.InputEntry {
			raw, err := json.Marshal(v)
			check(err)
			sum := sha256.Sum256(raw)
			root.Write(append([]byte(key+"\x00"), sum[:]...))
			return record.InputEntry{Key: key, Part: part(v)}
		}
		req := record.Request{Turn: turn, ID: fmt.Sprint("r", turn), Stage: "request", Time: time.Now().UnixNano(), Input: []record.InputEntry{
			entry("action", map[string]any{"verb": "select"}),
			entry("resource", map[string]any{"table_names": []string{"public.users"}}),
			entry("sql", map[string]any{"text": s.text}),
		}}
		root.Sum(req.InputDigest[:0])
		if s.ticket != "" { // as the gate does: what is held is recorded before the request
			w.Append(record.KindHold, record.Hold{Turn: turn, Ticket: s.ticket}.Encode(nil))
			w.Append(record.KindApproval, record.Approval{Turn: turn, Ticket: s.ticket, Outcome: "consumed", By: "carol"}.Encode(nil))
		}
		w.Append(record.KindRequest, req.Encode(nil))
		ruling := part(map[string]any{"reasons": []map[string]string{{"id": "acme/" + s.effect, "msg": "a reason"}}})
		w.Append(record.KindDecision, record.Decision{Turn: turn, ID: fmt.Sprint("d", turn), Effect: s.effect, Stage: "request", Ruling: ruling}.Encode(nil))
		if s.ticket != "" {
			for _, m := range []pgproto3.BackendMessage{
				&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("n"), DataTypeOID: 23}}},
				&pgproto3.DataRow{Values: [][]byte{[]byte("4711")}}, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")},
			} {
				data, err := m.Encode(nil)
				check(err)
				w.Append(record.KindChunk, record.Chunk{Turn: turn, Format: replay.Backend, Data: data}.Encode(nil))
			}
		} else if s.effect == "allow" {
			w.Append(record.KindChunk, record.Chunk{Turn: turn, Format: "test/text", Data: []byte("a***@example.org\x07")}.Encode(nil))
			w.Append(record.KindOutcome, record.Outcome{Turn: turn, Rows: 1, Bytes: 17, Tag: "SELECT 1"}.Encode(nil))
		}
	}
	check(w.Close("client left").Wait(ctx))
	return w.ID().String()
}

func regate(t *testing.T, want int, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if got := run(args, strings.NewReader(""), &out, &errs); got != want {
		t.Errorf("regate %s: exit status %d, want %d\n%s%s", strings.Join(args, " "), got, want, out.String(), errs.String())
	}
	if strings.ContainsAny(out.String(), "\x1b\x07\u202e") {
		t.Errorf("regate %s prints what a terminal would obey: %q", strings.Join(args, " "), out.String())
	}
	return out.String() + errs.String()
}

func wantAll(t *testing.T, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("no %q in:\n%s", w, got)
		}
	}
}

func TestSessionsCommands(t *testing.T) {
	dir := t.TempDir()
	id := recordSession(t, dir)
	file := configured(t, dir)
	wantAll(t, regate(t, 0, "sessions", "list", "-c", file), id, "agent-7 for alice", "shop", "archived")
	wantAll(t, regate(t, 0, "sessions", "list", "-c", file, "--effect", "deny", "--since", "1h", "--subject", "alice", "-o", "json"), `"denials": 1`)
	wantAll(t, regate(t, 0, "sessions", "list", "-c", file, "--target", "other"), "no sessions")
	wantAll(t, regate(t, 0, "sessions", "list", "-c", file, "--effect", "held"), id)
	wantAll(t, regate(t, 0, "sessions", "list", "-c", file, "--effect", "require_approval", "-o", "json"), `"holds": 1`)
	wantAll(t, regate(t, 2, "sessions", "list", "-c", file, "--since", "yesterday"), "neither a span")
	wantAll(t, regate(t, 2, "sessions", "list", "-c", file, "--effect", "maybe"), "unknown effect")

	wantAll(t, regate(t, 0, "sessions", "show", id, "-c", file), "agent-7 for alice", "SELECT email", "FROM users", "deny",
		"acme/deny", "SELECT 1, 1 row, 17 B", "receipt signed", `\u001b[2J\u202e`,
		"archived", `a report\u001b  (the agent's own words, not verified)`, "T-1", "approval ap-1 consumed by carol")
	var shown struct {
		Session  record.SessionRow
		Asserted struct{ Ticket string }
		Turns    []struct {
			Effect, Text string
			Results      []replay.Result
			Note         string `json:"results_note"`
		}
	}
	if err := json.Unmarshal([]byte(regate(t, 0, "sessions", "show", id, "-c", file, "-o", "json")), &shown); err != nil || len(shown.Turns) != 3 {
		t.Fatalf("%+v, %v", shown, err)
	}
	if s := shown.Session; s.State != record.StateArchived || s.Size == 0 || shown.Asserted.Ticket != "T-1" {
		t.Errorf("session %+v, asserted %+v", s, shown.Asserted)
	}
	if r := shown.Turns[2].Results; len(r) != 1 || len(r[0].Rows) != 1 || *r[0].Rows[0][0] != "4711" || r[0].Tag != "SELECT 1" {
		t.Errorf("results: %+v", r)
	}
	if turn := shown.Turns[0]; turn.Results != nil || !strings.Contains(turn.Note, `"test/text" is not decoded`) {
		t.Errorf("results of an unknown format: %+v", turn)
	}
	wantAll(t, regate(t, 0, "sessions", "replay", id, "-c", file, "--speed", "100"), "#1 SELECT email", `a***@example.org\u0007`, "closed: client left",
		"3 requests, 1 denied, 1 held", "archived", "4711")
	played := regate(t, 0, "sessions", "replay", id, "-c", file)
	statement, held, used := strings.Index(played, "#3 SELECT 1"), strings.Index(played, "held for approval ap-1"), strings.Index(played, "approval ap-1 consumed by carol")
	if statement < 0 || held < statement || used < held {
		t.Errorf("a held request is not in order:\n%s", played)
	}
	wantAll(t, regate(t, 2, "sessions", "show", "no-id", "-c", file), "not a session id")
	wantAll(t, regate(t, 1, "sessions", "show", "01JQ3Z5V8W7T6S5R4Q3P2N1M0K", "-c", file), "no such session")
}

func TestSessionsInput(t *testing.T) {
	dir := t.TempDir()
	id := recordSession(t, dir)
	file := configured(t, dir)
	var out, errs bytes.Buffer
	if got := run([]string{"sessions", "show", id, "-c", file, "--input", "2"}, strings.NewReader(""), &out, &errs); got != 0 {
		t.Fatalf("status %d: %s", got, errs.String())
	}
	// Byte for byte as it was recorded, but for the end of the line.
	const want = `{"action":{"verb":"select"},"resource":{"table_names":["public.users"]},"sql":{"text":"DROP TABLE users -- \u001b[2J` + "\u202e" + `"}}` + "\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	wantAll(t, regate(t, 1, "sessions", "show", id, "-c", file, "--input", "9"), "has no request 9")
	wantAll(t, regate(t, 2, "sessions", "show", id, "-c", file, "--input", "-1"), "wants the number")
}

func TestVerifyCommand(t *testing.T) {
	dir := t.TempDir()
	id := recordSession(t, dir)
	archive := filepath.Join(dir, "archive")
	public := filepath.Join(dir, "keys", "receipts.pem.pub")
	wantAll(t, regate(t, 0, "verify", "--archive", archive, "--public-key", public, "-a"), id, "ok, signed", "whole and unchanged")
	wantAll(t, regate(t, 0, "verify", "--archive", archive), "signatures were not checked")
	wantAll(t, regate(t, 0, "verify", "--journal", dir, "-o", "json"), `"ok": true`, `"signed": true`)
	wantAll(t, regate(t, 1, "verify", "--archive", filepath.Join(dir, "nothing")), "archive")
	wantAll(t, regate(t, 1, "verify", "--journal", archive), "no gateway's state folder")

	var file string
	err := filepath.WalkDir(archive, func(path string, d os.DirEntry, err error) error {
		if strings.HasSuffix(path, ".cbor.zst") {
			file = path
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	wantAll(t, regate(t, 1, "verify", "--archive", archive, "--public-key", public), "problem: session "+id, "WRONG")
	wantAll(t, regate(t, 1, "sessions", "show", id, "--archive", archive, "--public-key", public), "problem")
}

// TestVerifyCommandMissing: a deleted recording is never "everything".
func TestVerifyCommandMissing(t *testing.T) {
	dir := t.TempDir()
	ids := recordSessions(t, dir, 2)
	file := configured(t, dir)
	wantAll(t, regate(t, 0, "verify", "-c", file), "2 sessions verified (2 signed, 0 open)", "everything is whole and unchanged")
	session, err := ulid.ParseStrict(ids[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "archive", record.ObjectKey(session))); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[int][]string{1: nil, 0: {"--allow-missing"}} {
		out := regate(t, want, append([]string{"verify", "-c", file}, args...)...)
		wantAll(t, out, "1 session verified (1 signed, 0 open)", "1 number not accounted for: gateway gw, run ", "session 1 of 2")
		if strings.Contains(out, "whole and unchanged") || strings.Contains(out, "problem") {
			t.Errorf("verify %v says %s", args, out)
		}
	}
	wantAll(t, regate(t, 1, "verify", "--journal", dir), "problem: gateway gw, run ", "1 problem; 1 number not accounted for")
	recordSession(t, dir) // the run before has ended
	wantAll(t, regate(t, 1, "verify", "-c", file), "problem: gateway gw, run ", "session 1 of 2 not found")
	wantAll(t, regate(t, 0, "verify", "-c", file, "--allow-missing", "-o", "json"), `"ok": true`, `"numbers": "1"`, `"ended": true`)
}

// configured writes a configuration with that state folder.
func configured(t *testing.T, dir string) string {
	t.Helper()
	file := filepath.Join(dir, "regate.yaml")
	if err := os.WriteFile(file, []byte("state:\n  dir: "+dir+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
