package record

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
)

// kills is how often the child is killed. REGATE_KILLS asks for more.
func kills(t *testing.T) int {
	if s := os.Getenv("REGATE_KILLS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return 12
}

// runUntilKilled starts a child and kills it, at some moment after it is
// ready. It adds the events that were acknowledged to acked.
func runUntilKilled(t *testing.T, role string, acked map[ulid.ULID]uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "REGATE_TEST_CHILD="+role)
	cmd.Stderr = t.Output()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	if line, err := lines.ReadString('\n'); err != nil || line != "ready\n" {
		_ = cmd.Process.Kill()
		t.Fatalf("child said %q, %v, %v", line, err, cmd.Wait())
	}
	go func() {
		time.Sleep(time.Duration(rand.IntN(400_000)) * time.Microsecond)
		_ = cmd.Process.Kill()
	}()
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			if err != io.EOF {
				t.Error(err)
			}
			break
		}
		var id string
		var seq uint64
		if _, err := fmt.Sscan(line, &id, &seq); err != nil {
			t.Fatalf("child said %q: %v", line, err)
		}
		session := ulid.MustParseStrict(id)
		acked[session] = max(acked[session], seq)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("child ended by itself: %v", err)
	}
}

// TestKillLosesNothingAcknowledged kills a recording gateway again and again.
// After each kill, an auditor finds every acknowledged event in what is left;
// in the end all of it is archived and closed.
func TestKillLosesNothingAcknowledged(t *testing.T) {
	onBoth(t, func(t *testing.T, newRig func(testing.TB, string, func(*JournalOptions)) *rig) {
		dir := t.TempDir()
		acked := map[ulid.ULID]uint64{}
		for range kills(t) {
			killOnce(t, dir, acked)
			if t.Failed() {
				return
			}
		}
		events := 0
		for _, seq := range acked {
			events += int(seq)
		}
		t.Logf("%d sessions, %d acknowledged events", len(acked), events)

		r := newRig(t, dir, func(o *JournalOptions) { o.Gateway = "child" })
		flush(t, r.recorder)
		report, err := Verify(t.Context(), VerifyOptions{Bucket: r.bucket, Key: testPublic})
		if err != nil {
			t.Fatal(err)
		}
		wantOK(t, report)
		wantAcked(t, report, acked)
		for _, s := range report.Sessions {
			if s.State != "closed" || !s.Signed {
				t.Errorf("session %s is %s, signed: %v", s.ID, s.State, s.Signed)
			}
		}
	})
}

// killOnce runs a child until it is killed, and verifies what it left.
func killOnce(t *testing.T, dir string, acked map[ulid.ULID]uint64) {
	t.Helper()
	opts := VerifyOptions{Bucket: openBucket(t, filepath.Join(dir, "archive")), Spool: filepath.Join(dir, "spool"), Key: testPublic}
	if strings.HasSuffix(t.Name(), "/log") {
		runUntilKilled(t, "log:"+dir, acked)
		opts.Log = filepath.Join(dir, "journal")
	} else {
		runUntilKilled(t, dir, acked)
		st := openState(t, filepath.Join(dir, "state"))
		defer closeState(t, st)
		opts.Journal = st.JetStream()
	}
	report, err := Verify(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	wantOK(t, report)
	wantAcked(t, report, acked)
}

func wantAcked(t *testing.T, report *Report, acked map[ulid.ULID]uint64) {
	t.Helper()
	found := map[string]uint64{}
	for _, s := range report.Sessions {
		found[s.ID] = s.Events
		if s.Lost != 0 {
			t.Errorf("session %s lost %d events", s.ID, s.Lost)
		}
	}
	for id, seq := range acked {
		if found[id.String()] < seq {
			t.Errorf("session %s: event %d was acknowledged, %d are there", id, seq, found[id.String()])
		}
	}
}
