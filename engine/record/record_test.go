package record

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if role := os.Getenv("REGATE_TEST_CHILD"); role != "" {
		os.Exit(child(role))
	}
	goleak.VerifyTestMain(m)
}

func TestSessionIsArchivedIndexedAndVerified(t *testing.T) {
	onBoth(t, func(t *testing.T, newRig func(testing.TB, string, func(*JournalOptions)) *rig) {
		r := newRig(t, t.TempDir(), nil)
		w, ack := r.journal.Begin(Header{
			Protocol: "postgres", Target: "shop", Database: "shop", Subject: "alice", Issuer: "https://issuer", Actor: "agent-7", Client: "10.0.0.1:5000",
		})
		must(t, ack)
		sampleTurn(w, 1, "allow", "SELECT email FROM users")
		sampleTurn(w, 2, "deny", "DROP TABLE users")
		must(t, sampleTurn(w, 3, "allow", "SELECT 1"))
		live, _ := r.journal.Begin(Header{Protocol: "postgres", Target: "shop", Subject: "bob"})
		must(t, sampleTurn(live, 1, "allow", "SELECT 2"))
		must(t, w.Close("done"))
		flush(t, r.recorder)

		rows, err := r.index.Sessions(t.Context(), SessionFilter{Subject: "alice"})
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) != 1 {
			t.Fatalf("%d sessions of alice", len(rows))
		}
		s := rows[0]
		if s.State != StateArchived || s.Requests != 3 || s.Denials != 1 || s.Rows != 2 || s.Reason != "done" ||
			s.Object != ObjectKey(w.ID()) || s.Events != w.Events() || s.Actor != "agent-7" || s.Target != "shop" || s.FinalHash == "" {
			t.Errorf("session row %+v", s)
		}
		for _, f := range []SessionFilter{
			{Effect: "deny"}, {Text: "drop table"}, {Table: "public.users", Subject: "alice"}, {Reason: "acme.sql/rule", Effect: "deny"},
			{Target: "shop", Until: time.Now().Add(time.Hour), Since: time.Now().Add(-time.Hour), Actor: "agent-7"},
		} {
			got, err := r.index.Sessions(t.Context(), f)
			if err != nil || len(got) != 1 || got[0].ID != s.ID {
				t.Errorf("filter %+v: %d sessions, %v", f, len(got), err)
			}
		}
		if got, err := r.index.Sessions(t.Context(), SessionFilter{State: StateLive}); err != nil || len(got) != 1 || got[0].Subject != "bob" {
			t.Errorf("live sessions %+v, %v", got, err)
		}
		decisions, err := r.index.Decisions(t.Context(), DecisionFilter{Session: s.ID})
		if err != nil || len(decisions) != 3 {
			t.Fatalf("%d decisions, %v", len(decisions), err)
		}
		if d := decisions[1]; d.Effect != "deny" || d.Text != "DROP TABLE users" || d.Verb != "select" ||
			len(d.Tables) != 1 || d.Tables[0] != "public.users" || len(d.Reasons) != 1 || d.Reasons[0] != "acme.sql/rule" {
			t.Errorf("decision row %+v", d)
		}

		report := r.verify(t)
		wantOK(t, report)
		for _, got := range report.Sessions {
			want := SessionReport{ID: w.ID().String(), Where: "archive", Events: w.Events(), State: "closed", Reason: "done", Signed: true}
			if got.ID == live.ID().String() {
				want = SessionReport{ID: live.ID().String(), Where: "spool", Events: live.Events(), State: "open"}
			}
			got.FinalHash = ""
			if got != want {
				t.Errorf("report %+v, want %+v", got, want)
			}
		}

		a := OpenArchive(r.bucket, filepath.Join(r.dir, "spool"))
		parts := map[uint32][]byte{}
		docs := 0
		problems, err := a.Read(t.Context(), w.ID(), testPublic, func(e Event) error {
			switch e.Kind {
			case KindPart:
				p, err := DecodePart(e.Body)
				if err != nil {
					return err
				}
				parts[p.Index] = p.JSON
			case KindRequest:
				req, err := DecodeRequest(e.Body)
				if err != nil {
					return err
				}
				if _, err := req.Document(func(i uint32) []byte { return parts[i] }); err != nil {
					return err
				}
				docs++
			}
			return nil
		})
		if err != nil || len(problems) > 0 || docs != 3 {
			t.Errorf("read: %v, %v, %d documents", err, problems, docs)
		}
	})
}

func TestSessionsOfADeadGatewayAreClosed(t *testing.T) {
	onBoth(t, func(t *testing.T, newRig func(testing.TB, string, func(*JournalOptions)) *rig) {
		dir := t.TempDir()
		r := newRig(t, dir, nil)
		w, _ := r.journal.Begin(Header{Protocol: "postgres", Target: "shop", Subject: "alice"})
		must(t, sampleTurn(w, 1, "allow", "SELECT 1"))
		flush(t, r.recorder)
		// A second run under the same name, while the first never closed.
		second := r.openJournal(nil)
		flush(t, r.recorder)
		s, err := r.index.Session(t.Context(), w.ID().String())
		if err != nil || s.State != StateArchived || s.Reason != ReasonGatewayDied {
			t.Fatalf("session %+v, %v", s, err)
		}
		wantOK(t, r.verify(t))
		w2, _ := second.Begin(Header{Protocol: "postgres", Target: "shop", Subject: "alice"})
		must(t, w2.Close("done"))
		flush(t, r.recorder)
		wantOK(t, r.verify(t))

		// The first was alive after all. What it goes on to record is kept.
		must(t, sampleTurn(w, 2, "allow", "SELECT 2"))
		flush(t, r.recorder)
		if late, err := os.ReadDir(filepath.Join(dir, "spool", "late")); err != nil || len(late) == 0 {
			t.Errorf("late frames: %v, %v", late, err)
		}
	})
}

func TestRestartMidSession(t *testing.T) {
	onBoth(t, func(t *testing.T, newRig func(testing.TB, string, func(*JournalOptions)) *rig) {
		dir := t.TempDir()
		r := newRig(t, dir, nil)
		w, _ := r.journal.Begin(Header{Protocol: "postgres", Target: "shop", Subject: "alice"})
		for turn := uint64(1); turn <= 30; turn++ {
			ack := sampleTurn(w, turn, "allow", "SELECT 1")
			if turn%10 == 0 {
				must(t, ack)
				flush(t, r.recorder)
				r.restartRecorder()
			}
		}
		must(t, w.Close("done"))
		flush(t, r.recorder)
		wantOK(t, r.verify(t))
		s, err := r.index.Session(t.Context(), w.ID().String())
		if err != nil || s.Requests != 30 || s.Rows != 30 {
			t.Errorf("session %+v, %v", s, err)
		}
	})
}
