package record

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"gocloud.dev/blob/fileblob"

	"github.com/regate-dev/regate/engine/state"
)

// child is a gateway's recording in a process of its own, to be killed. It
// prints a line "<session> <seq>" for every event once it is acknowledged.
func child(role string) int {
	run := runChild
	if dir, ok := strings.CutPrefix(role, "disk:"); ok {
		role, run = dir, fillDisk
	}
	if err := run(role); err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		return 1
	}
	return 0
}

func runChild(dir string) error {
	ctx := context.Background()
	dir, local := strings.CutPrefix(dir, "log:")
	journal := JournalOptions{Gateway: "child", Key: testKey}
	recorder := RecorderOptions{Dir: filepath.Join(dir, "spool"), Key: testKey}
	if local {
		log, err := OpenLog(filepath.Join(dir, "journal"), LogOptions{Segment: 1 << 20})
		if err != nil {
			return err
		}
		journal.Log, recorder.Log = log, log
	} else {
		st, err := state.Open(ctx, state.Options{Dir: filepath.Join(dir, "state")})
		if err != nil {
			return err
		}
		journal.JetStream, recorder.JetStream = st.JetStream(), st.JetStream()
	}
	j, err := OpenJournal(ctx, journal)
	if err != nil {
		return err
	}
	index, err := OpenIndex(filepath.Join(dir, "index.db"))
	if err != nil {
		return err
	}
	bucket, err := fileblob.OpenBucket(filepath.Join(dir, "archive"), &fileblob.Options{CreateDir: true, NoTempDir: true, Metadata: fileblob.MetadataDontWrite})
	if err != nil {
		return err
	}
	recorder.Bucket, recorder.Index = bucket, index
	if _, err := OpenRecorder(ctx, recorder); err != nil {
		return err
	}
	fmt.Println("ready")

	var out sync.Mutex
	acked := func(w *Writer, seq uint64) {
		out.Lock()
		defer out.Unlock()
		fmt.Println(w.ID(), seq)
	}
	var wg sync.WaitGroup
	errs := make(chan error, 8)
	for n := range 8 {
		wg.Go(func() {
			data := []byte(strings.Repeat("x", 100+n*n*n*200))
			for {
				w, ack := j.Begin(Header{Protocol: "test", Target: "t", Subject: fmt.Sprint("s", n)})
				if err := ack.Wait(ctx); err != nil {
					errs <- err
					return
				}
				acked(w, 1)
				for turn := range uint64(50 * (n + 1)) {
					if err := w.Append(KindChunk, Chunk{Turn: turn, Format: "test/text", Data: data}.Encode(nil)).Wait(ctx); err != nil {
						errs <- err
						return
					}
					acked(w, turn+2)
				}
				if err := w.Close("done").Wait(ctx); err != nil {
					errs <- err
					return
				}
				acked(w, w.Events())
			}
		})
	}
	wg.Wait()
	return <-errs
}
