package record

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/regate-dev/regate/engine/state"
)

// testKey is the same in every test, so that files are comparable.
var testKey = func() ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("regate test key"))
	return ed25519.NewKeyFromSeed(seed[:])
}()

var testPublic = testKey.Public().(ed25519.PublicKey)

func testLog(t testing.TB) logrus.FieldLogger {
	log := logrus.New()
	log.SetLevel(logrus.WarnLevel)
	log.SetOutput(t.Output())
	return log
}

func openState(t testing.TB, dir string) *state.State {
	t.Helper()
	st, err := state.Open(t.Context(), state.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeState(t, st) })
	return st
}

func closeState(t testing.TB, st *state.State) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := st.Close(ctx); err != nil {
		t.Error(err)
	}
}

func openJournal(t testing.TB, st *state.State, change func(*JournalOptions)) *Journal {
	t.Helper()
	opts := JournalOptions{
		JetStream: st.JetStream(), Gateway: "test", Key: testKey, FreeBytes: st.FreeBytes, Logger: testLog(t),
	}
	if change != nil {
		change(&opts)
	}
	j, err := OpenJournal(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeJournal(t, j) })
	return j
}

func closeJournal(t testing.TB, j *Journal) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_ = j.Close(ctx)
}

func must(t testing.TB, a *Ack) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := a.Wait(ctx); err != nil {
		t.Fatal(err)
	}
}
