package record

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkEvents: every goroutine appends an event and waits for it.
func BenchmarkEvents(b *testing.B) {
	for _, n := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("waiters=%d", n), func(b *testing.B) {
			j := openJournal(b, openState(b, b.TempDir()), nil)
			body := make([]byte, 400)
			writers := make([]*Writer, n)
			for i := range writers {
				w, ack := j.Begin(Header{Protocol: "test"})
				must(b, ack)
				writers[i] = w
			}
			b.ReportAllocs()
			b.ResetTimer()
			before := cpuTime()
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			for _, w := range writers {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if err := w.Append(KindOutcome, body).Wait(context.Background()); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64((cpuTime()-before).Nanoseconds())/float64(b.N), "cpu-ns/event")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkChunks: one session streams without waiting for each chunk.
func BenchmarkChunks(b *testing.B) {
	for _, size := range []int{64 << 10, 256 << 10} {
		b.Run(fmt.Sprintf("size=%dk", size>>10), func(b *testing.B) {
			j := openJournal(b, openState(b, b.TempDir()), func(o *JournalOptions) { o.MaxBytes = 64 << 30 })
			w, ack := j.Begin(Header{Protocol: "test"})
			must(b, ack)
			data := make([]byte, size-64)
			for i := range data {
				data[i] = byte(i * 7)
			}
			body := Chunk{Turn: 1, Format: "test", Data: data}.Encode(nil)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			b.ResetTimer()
			before := cpuTime()
			for range b.N {
				ack = w.Append(KindChunk, body)
			}
			must(b, ack)
			b.StopTimer()
			b.ReportMetric(float64((cpuTime()-before).Nanoseconds())/float64(b.N), "cpu-ns/event")
		})
	}
}
