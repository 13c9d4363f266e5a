package record

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/regate-dev/regate/engine/state"
)

// TestFullDisk runs the recording on a file system of 48 MiB of its own, in a
// child with its own mount and user namespaces.
func TestFullDisk(t *testing.T) {
	t.Run("log", func(t *testing.T) { runOnSmallDisk(t, "disk:log:") })
	t.Run("stream", func(t *testing.T) { runOnSmallDisk(t, "disk:") })
}

func runOnSmallDisk(t *testing.T, role string) {
	dir := t.TempDir()
	cmd := exec.Command("unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
		`mount -t tmpfs -o size=48m none "$1" && exec "$2"`, "sh", dir, os.Args[0])
	cmd.Env = append(os.Environ(), "REGATE_TEST_CHILD="+role+dir)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

// fillDisk is the child: first with the reserve, then without.
func fillDisk(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	log := logrus.New() // shown where the test fails
	log.SetLevel(logrus.DebugLevel)
	dir, local := strings.CutPrefix(dir, "log:")
	opts := JournalOptions{Gateway: "disk", Key: testKey, Reserve: 16 << 20, Timeout: time.Second, Logger: log}
	opts.FreeBytes = func() (int64, error) { return state.FreeBytes(dir) }
	verify := VerifyOptions{Key: testPublic}
	if local {
		store, err := OpenLog(filepath.Join(dir, "journal"), LogOptions{Segment: 4 << 20})
		if err != nil {
			return err
		}
		defer store.Close()
		opts.Log, verify.Log = store, store.dir
	} else {
		st, err := state.Open(ctx, state.Options{Dir: filepath.Join(dir, "state"), Logger: log})
		if err != nil {
			return err
		}
		defer st.Close(ctx)
		opts.JetStream, verify.Journal = st.JetStream(), st.JetStream()
	}
	j, err := OpenJournal(ctx, opts)
	if err != nil {
		return err
	}
	guarded, ack := j.Begin(Header{Protocol: "test"})
	if err := errors.Join(ack.Wait(ctx), fill(ctx, guarded, ErrFull)); err != nil {
		return err
	}
	if err := guarded.Close("disk full").Wait(ctx); err != nil {
		return errors.Join(errors.New("close on a disk at its reserve"), err)
	}
	if err := j.Close(ctx); err != nil {
		return err
	}

	// Another writer takes the disk down to nothing: the store itself fails.
	opts.FreeBytes = nil
	if j, err = OpenJournal(ctx, opts); err != nil {
		return err
	}
	hog := filepath.Join(dir, "hog")
	open, ack := j.Begin(Header{Protocol: "test"})
	if err := ack.Wait(ctx); err != nil {
		return err
	}
	free, err := state.FreeBytes(dir)
	if err != nil {
		return err
	}
	if err := os.WriteFile(hog, make([]byte, free-(1<<20)), 0o600); err != nil {
		return err
	}
	if err := fill(ctx, open, ErrDown); err != nil {
		return err
	}
	closed := open.Close("disk full")
	if err := os.Remove(hog); err != nil {
		return err
	}
	if err := closed.Wait(ctx); err != nil {
		return errors.Join(errors.New("close after there is room again"), err)
	}
	if err := j.Close(ctx); err != nil {
		return err
	}
	report, err := Verify(ctx, verify)
	if err != nil {
		return err
	}
	for _, p := range report.Problems {
		err = errors.Join(err, errors.New(p.String()))
	}
	for _, s := range report.Sessions {
		if s.State != "closed" || !s.Signed {
			err = errors.Join(err, errors.New("session "+s.ID+" is not closed validly"))
		}
	}
	return err
}

// fill appends until it is refused, with the error that is expected.
func fill(ctx context.Context, w *Writer, want error) error {
	chunk := make([]byte, 128<<10)
	for range 2000 {
		if err := w.Append(KindChunk, chunk).Wait(ctx); err != nil {
			if !errors.Is(err, want) {
				return err
			}
			return nil
		}
	}
	return errors.New("the disk never fills")
}
