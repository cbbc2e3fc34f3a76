package main

import (
	"context"
	"runtime"
	"sort"
	"strings"
	"sync"

	"leaktrace.example/workload/viac"
)

// stack is one real stack, twice: the return addresses found by following the
// frame pointers, and the runtime's frames. Both begin with the caller of
// recordStack; the runtime leaves out wrappers that the compiler made.
type stack struct {
	Name     string    `json:"name"`
	Physical []uintptr `json:"physical"`
	Logical  []frame   `json:"logical"`
}

var recorded []stack

//go:noinline
func recordStack(name string) {
	physical := make([]uintptr, 64)
	physical = physical[:returnAddresses(physical)]
	// The call above may have gone through a wrapper with a frame.
	for len(physical) > 0 && strings.HasSuffix(runtime.FuncForPC(physical[0]-1).Name(), ".recordStack") {
		physical = physical[1:]
	}
	logical := make([]uintptr, 64)
	logical = logical[:runtime.Callers(2, logical)]
	recorded = append(recorded, stack{name, physical, frames(logical)})
}

// sampleStacks records one stack for each way to be called.
func sampleStacks() []stack {
	recordStack("direct")
	inlinedOnce("inlined")
	inlinedTwice("inlined twice")
	recorder{"method value"}.value()()
	wrapped(&outerRecorder{recorder{"promoted through an interface"}})
	func(name string) { recordStack(name) }("closure")
	generic("generic")
	generic([]byte("generic shape"))
	deferred("deferred")
	deferredInLoop("deferred in a loop")
	recovered("while panicking")
	recursive("recursive", 5)
	fromLibrary("from the library")
	inGoroutine("goroutine")
	fromC("from C")
	return recorded
}

func inlinedOnce(name string) {
	recordStack(name)
}

func inlinedTwice(name string) {
	inlinedOnce(name)
}

type recorder struct{ name string }

func (r recorder) record() { recordStack(r.name) }

func (r recorder) value() func() { return r.record }

type outerRecorder struct{ recorder }

//go:noinline
func wrapped(r interface{ record() }) { r.record() }

//go:noinline
func generic[T string | []byte](name T) { recordStack(string(name)) }

//go:noinline
func deferred(name string) {
	defer inlinedOnce(name)
}

//go:noinline
func deferredInLoop(name string) {
	for i := 0; i < 2; i++ {
		defer recordStack(name)
	}
}

//go:noinline
func recovered(name string) {
	defer func() {
		recordStack(name)
		_ = recover()
	}()
	panic(name)
}

//go:noinline
func recursive(name string, depth int) {
	if depth > 0 {
		recursive(name, depth-1)
		return
	}
	inlinedTwice(name)
}

//go:noinline
func fromLibrary(name string) {
	sort.Slice([]int{2, 1}, func(int, int) bool {
		inlinedOnce(name + ": sort")
		return false
	})
	var once sync.Once
	once.Do(func() { inlinedOnce(name + ": once") })
	_ = strings.Map(func(r rune) rune {
		recordStack(name + ": map")
		return r
	}, "x")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	context.AfterFunc(ctx, func() {
		recordStack(name + ": context")
		close(done)
	})
	cancel()
	<-done
}

//go:noinline
func inGoroutine(name string) {
	var group sync.WaitGroup
	spawn(&group, func() { inlinedTwice(name) })
	group.Wait()
}

//go:noinline
func fromC(name string) {
	viac.Call(func() { inlinedTwice(name) })
}
