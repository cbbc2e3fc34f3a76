package main

import (
	"runtime"
	"syscall"
	"time"
)

// pacedTruth is the truth of paced.
type pacedTruth struct {
	Started    int     `json:"started"`
	Seconds    float64 `json:"seconds"`
	CPUSeconds float64 `json:"cpu_seconds"`
}

// paced starts goroutines that end at once, at a steady rate: how much of it
// is seen, and what does that cost?
func paced(args []string) {
	l := newLife("paced")
	rate := l.flags.Float64("rate", 100000, "starts per second")
	last := l.flags.Duration("last", 3*time.Second, "how long")
	l.run(args, func() any {
		before, begin, used := runtime.NumGoroutine(), time.Now(), cpuTime()
		started := 0
		for since := time.Duration(0); since < *last && !l.over(); since = time.Since(begin) {
			for ; float64(started) < *rate*since.Seconds(); started++ {
				startOne()
			}
			time.Sleep(200 * time.Microsecond)
		}
		took := time.Since(begin)
		for runtime.NumGoroutine() > before && !l.over() {
			time.Sleep(time.Millisecond)
		}
		return pacedTruth{started, took.Seconds(), (cpuTime() - used).Seconds()}
	})
}

// relay starts goroutines that end at once, as fast as it can, on one
// processor: what does a start with its end cost?
func relay(args []string) {
	l := newLife("relay")
	pairs := l.flags.Int("pairs", 100000, "starts")
	l.run(args, func() any {
		runtime.GOMAXPROCS(1)
		begin := cpuTime()
		for i := 1; i <= *pairs; i++ {
			startOne()
			if i%64 == 0 {
				runtime.Gosched()
			}
		}
		return churnRound{*pairs, nsPer(cpuTime()-begin, *pairs)}
	})
}

//go:noinline
func startOne() { go endAtOnce() }

//go:noinline
func endAtOnce() {}

// cpuTime is what this process has used so far.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
