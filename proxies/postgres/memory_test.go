package postgres_test

import (
	"os"
	"runtime"
	"runtime/pprof"
	"testing"
	"time"
)

// BenchmarkIdleSessions reports what an idle session costs. The heap profile
// goes to the file that IDLE_HEAP names.
func BenchmarkIdleSessions(b *testing.B) {
	for b.Loop() {
		g := start(b)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		const n = 150
		for range n {
			conn := g.connect("agent-1")
			if _, err := query(b, conn, "SELECT id FROM customers WHERE id = 1"); err != nil {
				b.Fatal(err)
			}
		}
		time.Sleep(2 * time.Second)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "heap-B/session")
		b.ReportMetric(float64(after.StackInuse-before.StackInuse)/n, "stack-B/session")
		b.ReportMetric(float64(after.Sys)/(1<<20), "sys-MiB")
		if path := os.Getenv("IDLE_HEAP"); path != "" {
			f, err := os.Create(path)
			must(b, err)
			must(b, pprof.Lookup("heap").WriteTo(f, 0))
			must(b, f.Close())
		}
	}
}
