// Command layouts is never run: `cargo xtask layouts` reads its DWARF.
//
// It links in everything whose layout leaktrace reads: the linker keeps the
// description of a type only if the program can reach it. The memory profile
// brings in the profiler's records, the contexts bring in each kind of context
// and the map of a parent's children, the labels bring in the goroutine's.
package main

import (
	"context"
	"io"
	"runtime"
	"runtime/pprof"
	"time"
)

type key struct{}

// foreign is a context the context package knows nothing of.
type foreign struct{ context.Context }

func (foreign) AfterFunc(func()) func() bool { return func() bool { return true } }

func (foreign) Done() <-chan struct{} { return make(chan struct{}) }

func contexts(work func(context.Context)) {
	root, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	timed, stop := context.WithTimeout(context.WithValue(root, key{}, 1), time.Hour)
	defer stop()
	defer context.AfterFunc(context.WithoutCancel(timed), func() {})()
	under, end := context.WithCancel(foreign{timed})
	defer end()
	pprof.Do(under, pprof.Labels("layout", "label"), work)
}

func main() {
	contexts(func(ctx context.Context) {
		timer := time.AfterFunc(time.Hour, func() {})
		defer timer.Stop()
		object := new(key)
		runtime.SetFinalizer(object, func(*key) {})
		<-ctx.Done()
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		for _, profile := range pprof.Profiles() {
			_ = profile.WriteTo(io.Discard, 0)
		}
	})
}
