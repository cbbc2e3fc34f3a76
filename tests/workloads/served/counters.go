package main

import (
	"runtime"
	"runtime/debug"
)

// counters fills the heap with a few sizes and reports what the runtime says
// about itself.
type counters struct{ kept [][]byte }

func init() { parts["counters"] = &counters{} }

func (c *counters) setUp([]string) {
	debug.SetGCPercent(75)
	debug.SetMemoryLimit(3 << 30)
	runtime.GOMAXPROCS(5)
	for size := 64; size <= 1<<20; size *= 2 {
		for i := 0; i < 16; i++ {
			c.kept = append(c.kept, make([]byte, size))
		}
	}
}

func (c *counters) command(string) any {
	var truth struct {
		runtime.MemStats
		Procs int
	}
	truth.Procs = runtime.GOMAXPROCS(0)
	runtime.ReadMemStats(&truth.MemStats)
	runtime.KeepAlive(c.kept)
	return truth
}
