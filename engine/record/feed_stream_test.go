package record

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"
)

// TestAcknowledgesWhatWasTaken: a message whose predecessors could not be read is
// not acknowledged, since that would cover them, too. A recorder that starts
// again would never see them.
func TestAcknowledgesWhatWasTaken(t *testing.T) {
	_, js := startNATS(t, filepath.Join(t.TempDir(), "nats")).connect(t)
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: StreamName, Subjects: []string{subjectPrefix + ">"}, AllowDirect: true}); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if _, err := js.Publish(t.Context(), subjectPrefix+"gw", fmt.Appendf(nil, "%d", i+1)); err != nil {
			t.Fatal(err)
		}
	}
	f, err := newStreamFeed(t.Context(), js, "main", "instance", false, quiet)
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.consumer.Fetch(5)
	if err != nil {
		t.Fatal(err)
	}
	var last jetstream.Msg
	for m := range got.Messages() {
		last = m // the others were delivered to a connection that is gone
	}
	f.batch = []jetstream.Msg{last}
	floor := func() uint64 {
		t.Helper()
		if err := f.acknowledge(t.Context(), f.at); err != nil {
			t.Fatal(err)
		}
		info, err := f.consumer.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return info.AckFloor.Stream
	}
	cut, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.takeBatch(cut, func(message) {}); err == nil || f.at != 0 {
		t.Fatal("what was missing was read without a connection", f.at)
	}
	if at := floor(); at != 0 {
		t.Errorf("nothing was taken and %d were acknowledged", at)
	}
	var taken []string
	if err := f.takeBatch(t.Context(), func(m message) { taken = append(taken, string(m.data)) }); err != nil {
		t.Fatal(err)
	}
	if at := floor(); fmt.Sprint(taken) != "[1 2 3 4 5]" || at != 5 {
		t.Errorf("taken %v, acknowledged %d", taken, at)
	}
}
