package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// goroutines starts goroutines that wait in every way there is, and leaks as
// many at one line as its first argument says, in calls as deep as the second
// says. "churn" and "quiet" start and end goroutines that come and go.
type goroutines struct {
	never  chan int // nobody sends
	full   chan int // nobody receives
	mu     sync.Mutex
	rw     sync.RWMutex
	cond   *sync.Cond
	group  sync.WaitGroup
	stop   chan struct{}
	churns sync.WaitGroup
}

func init() { parts["goroutines"] = &goroutines{never: make(chan int), full: make(chan int)} }

func (g *goroutines) setUp(args []string) {
	leaks, depth := 100, 0
	if len(args) > 0 {
		leaks, _ = strconv.Atoi(args[0])
	}
	if len(args) > 1 {
		depth, _ = strconv.Atoi(args[1])
	}
	g.mu.Lock()
	g.rw.Lock()
	g.group.Add(1)
	g.cond = sync.NewCond(&sync.Mutex{})
	g.block()
	g.blockInSystem()
	g.label()
	for i := 0; i < leaks; i++ {
		go g.leak(depth)
	}
	settle()
}

func (g *goroutines) block() {
	go func() { <-g.never }()
	go func() { g.full <- 1 }()
	go func() {
		var none chan int
		<-none
	}()
	go func() {
		var none chan int
		none <- 1
	}()
	go func() { select {} }()
	go func() {
		select {
		case <-g.never:
		case <-time.After(24 * time.Hour):
		}
	}()
	go func() {
		g.mu.Lock()
		defer g.mu.Unlock()
	}()
	go func() {
		g.rw.RLock()
		defer g.rw.RUnlock()
	}()
	go g.group.Wait()
	go func() {
		g.cond.L.Lock()
		g.cond.Wait()
	}()
	go time.Sleep(24 * time.Hour)
	go recurse(200, g.never)
	go generic(g.never, "text")
	go generic(g.never, 5)
	go g.outer()
	go func() {
		defer func() {
			_ = recover()
			<-g.never
		}()
		var none *int
		*none = 1
	}()
	go func() {
		runtime.LockOSThread()
		<-g.never
	}()
}

func (g *goroutines) blockInSystem() {
	var ends [2]int
	if err := syscall.Pipe(ends[:]); err != nil {
		panic(err)
	}
	go readPipe(ends[0])
	go func() {
		runtime.LockOSThread()
		readPipe(ends[0])
	}()
	reader, _, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	go func() { _, _ = reader.Read(make([]byte, 1)) }()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			if _, err := listener.Accept(); err != nil {
				panic(err)
			}
		}
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		panic(err)
	}
	go func() { _, _ = conn.Read(make([]byte, 1)) }()
}

func (g *goroutines) label() {
	labels := pprof.Labels("kind", "labelled", "quote", "a \"b\"\n", "empty", "")
	pprof.Do(context.Background(), labels, func(ctx context.Context) {
		go func() { <-g.never }()
		more := []string{}
		for i := 0; i < 20; i++ {
			more = append(more, fmt.Sprintf("key%02d", i), fmt.Sprint(i))
		}
		pprof.Do(ctx, pprof.Labels(more...), func(context.Context) {
			go func() { go g.inherits() }()
		})
	})
}

//go:noinline
func (g *goroutines) inherits() { <-g.never }

//go:noinline
func (g *goroutines) leak(depth int) {
	if depth > 0 {
		recurse(depth, g.never)
	}
	<-g.never
}

func (g *goroutines) outer() { g.middle() } // inlined

func (g *goroutines) middle() { g.inherits() } // inlined

//go:noinline
func readPipe(fd int) { _, _ = syscall.Read(fd, make([]byte, 1)) }

//go:noinline
func generic[T any](never chan int, kept T) {
	<-never
	runtime.KeepAlive(kept)
}

//go:noinline
func recurse(depth int, never chan int) int {
	if depth == 0 {
		return <-never
	}
	return recurse(depth-1, never) + 1
}

// settle waits until what was started stands where it will stay.
func settle() {
	for i := 0; i < 3; i++ {
		runtime.GC()
		time.Sleep(50 * time.Millisecond)
	}
}

func (g *goroutines) command(line string) any {
	switch line {
	case "churn":
		g.stop = make(chan struct{})
		for i := 0; i < 4; i++ {
			g.churns.Add(1)
			go g.churn()
		}
	case "quiet":
		close(g.stop)
		g.churns.Wait()
		settle()
	}
	return runtime.NumGoroutine()
}

// churn starts and ends goroutines with stacks and labels that differ, a few
// at a time.
func (g *goroutines) churn() {
	defer g.churns.Done()
	for i := 0; ; i++ {
		select {
		case <-g.stop:
			return
		default:
		}
		var few sync.WaitGroup
		for j := 0; j < 16; j++ {
			few.Add(1)
			ch := make(chan int)
			labels := pprof.Labels("i", strconv.Itoa(i), "churn", "yes")
			pprof.Do(context.Background(), labels, func(context.Context) {
				go func() {
					defer few.Done()
					recurse(i%100, ch)
				}()
			})
			go func() { ch <- 1 }()
		}
		few.Wait()
	}
}
