package main

import (
	"flag"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// heap allocates at known sites: many sizes, inlined callers, generic
// functions, a closure; some of it is kept, some is garbage.
type heap struct {
	kept    []any
	garbage []byte
	stop    atomic.Bool
	churns  sync.WaitGroup
}

// site is how many objects of one size a function has allocated and kept.
type site struct {
	Function    string
	ObjectBytes int
	Objects     int
}

func init() { parts["heap"] = &heap{} }

func (h *heap) setUp(args []string) {
	flags := flag.NewFlagSet("heap", flag.ExitOnError)
	flags.IntVar(&runtime.MemProfileRate, "rate", runtime.MemProfileRate, "bytes per sample")
	many := flags.Int("many", 0, "call chains to allocate by")
	churns := flags.Int("churn", 0, "goroutines that allocate until told to stop")
	_ = flags.Parse(args) // it exits on errors
	// Room for all, so that no function below allocates more than it says.
	h.kept = make([]any, 0, 1<<16)
	h.keepAll()
	for chain := 0; chain < *many; chain++ {
		h.kept = append(h.kept, left(chain, 16))
	}
	for i := 0; i < *churns; i++ {
		h.churns.Add(1)
		go h.churn(i)
	}
}

// command stops the churn, or tells what some functions have kept.
func (h *heap) command(line string) any {
	if line == "stop" {
		h.stop.Store(true)
		h.churns.Wait()
		return nil
	}
	runtime.KeepAlive(h.kept)
	return []site{
		{"main.keepSmall", 48, 1000},
		{"main.innermost", 1024, 200},
		{"main.newOf[...]", 64, 200},
		{"main.newOf[...]", 128, 100},
		{"main.(*heap).keepClosures.func1", 4096, 50},
		{"main.(*heap).keepLarge", 1 << 20, 3},
	}
}

func (h *heap) keepAll() {
	for i := 0; i < 1000; i++ {
		h.kept = append(h.kept, keepSmall())
	}
	for i := 0; i < 200; i++ {
		h.kept = append(h.kept, outer())
	}
	for i := 0; i < 100; i++ {
		h.kept = append(h.kept, newOf[[8]uint64](), newOf[[8]int64](), newOf[[16]*int]())
	}
	h.keepClosures()
	h.keepLarge()
	h.keepSizes()
	h.drop()
	h.kept = append(h.kept, deep(60))
}

//go:noinline
func keepSmall() *[6]uint64 { return new([6]uint64) }

// outer has the following two inlined.
//
//go:noinline
func outer() *[1024]byte { return middle() }

func middle() *[1024]byte { return innermost() }

func innermost() *[1024]byte { return new([1024]byte) }

//go:noinline
func newOf[T any]() *T { return new(T) }

//go:noinline
func (h *heap) keepClosures() {
	for i := 0; i < 50; i++ {
		call(func() { h.kept = append(h.kept, new([4096]byte)) })
	}
}

//go:noinline
func call(f func()) { f() }

//go:noinline
func (h *heap) keepLarge() {
	for i := 0; i < 3; i++ {
		h.kept = append(h.kept, new([1 << 20]byte))
	}
}

// keepSizes allocates many sizes in one line.
//
//go:noinline
func (h *heap) keepSizes() {
	for size := 8; size <= 256<<10; size += size/4 + 8 {
		for i := 0; i < 20; i++ {
			h.kept = append(h.kept, make([]byte, size))
		}
	}
}

//go:noinline
func (h *heap) drop() {
	for i := 0; i < 20_000; i++ {
		h.garbage = make([]byte, 700)
		h.garbage = []byte(strings.Repeat("x", i%300) + strconv.Itoa(i))
	}
	h.garbage = nil
}

// deep allocates below more calls than some versions keep of a stack.
//
//go:noinline
func deep(depth int) []any {
	if depth == 0 {
		return []any{new([300]byte)}
	}
	return append(deepInlined(depth), depth)
}

func deepInlined(depth int) []any { return deep(depth - 1) }

// left and right make a call chain for every number of 16 bits.
//
//go:noinline
func left(chain, depth int) any {
	if depth == 0 {
		return new([4]uint64)
	}
	if chain&1 == 0 {
		return left(chain>>1, depth-1)
	}
	return right(chain>>1, depth-1)
}

//go:noinline
func right(chain, depth int) any {
	if depth == 0 {
		return new([5]uint64)
	}
	if chain&1 == 0 {
		return left(chain>>1, depth-1)
	}
	return right(chain>>1, depth-1)
}

// churn allocates along thousands of call chains, and lets most of it die.
func (h *heap) churn(seed int) {
	defer h.churns.Done()
	window := make([]any, 4096)
	for i := seed * 7919; !h.stop.Load(); i++ {
		window[i%len(window)] = left(i&0xfff, 16)
		if i%16 == 0 {
			window[(i/16)%len(window)] = make([]byte, i%40_000)
		}
	}
	runtime.KeepAlive(window)
}
