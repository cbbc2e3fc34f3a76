package main

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"time"
)

// contexts makes trees of contexts before anybody looks, and tells which
// context hangs where. Its argument is the number of children under the root.
type contexts struct {
	root   context.Context
	kept   map[int]context.Context
	funcs  []context.CancelFunc
	groups map[string]*group
	stop   chan struct{}
}

// group is contexts of one kind: their addresses and, where there is one, the
// address of what holds them.
type group struct {
	Holders   []string
	Addresses []string
	Deadlines []int64
}

// foreign is a parent of the program's own that is cancelled by itself.
type foreign struct {
	context.Context
	done chan struct{}
}

func (f foreign) Done() <-chan struct{} { return f.done }

type key int

func init() { parts["contexts"] = &contexts{} }

func (c *contexts) setUp(args []string) {
	count, err := strconv.Atoi(args[0])
	if err != nil {
		panic(err)
	}
	c.root = first(context.WithCancel(context.Background()))
	c.kept = make(map[int]context.Context)
	c.groups = make(map[string]*group)
	done := make(chan struct{})
	go func() { // so that no reference stays on a stack
		defer close(done)
		c.held(count)
		c.timers()
		c.unheld()
		c.dropped()
		c.functions()
	}()
	<-done
}

// held makes what the root and its descendants hold.
func (c *contexts) held(count int) {
	for i := 0; i < count; i++ {
		ctx := first(context.WithCancel(c.root))
		if i%100 == 0 {
			c.note("held", ctx, c.root)
		}
	}
	valued := c.root
	for i := 0; i < 500; i++ {
		valued = context.WithValue(valued, key(i), i)
	}
	for i := 0; i < 10; i++ {
		c.note("valued", first(context.WithCancel(valued)), c.root)
		ctx := first(context.WithCancel(c.root))
		ctx.Done()
		c.note("done", ctx, c.root)
		context.AfterFunc(c.root, func() { c.stop = nil })
	}
	parent := c.root
	for i := 0; i < 200; i++ {
		ctx := first(context.WithCancel(parent))
		c.note("nested", ctx, parent)
		parent = ctx
	}
	for i := 0; i < 8; i++ { // as many as fit into the smallest map
		c.note("few", first(context.WithCancel(parent)), parent)
	}
}

func (c *contexts) timers() {
	for i := 0; i < 10; i++ {
		for _, parent := range []context.Context{c.root, context.Background()} {
			c.note("timer", first(context.WithTimeout(parent, time.Duration(i+1)*time.Hour)), nil)
			at := time.Unix(4_000_000_000+int64(i), 123)
			c.note("timer", first(context.WithDeadline(parent, at)), nil)
		}
	}
}

// unheld makes what only the program itself keeps.
func (c *contexts) unheld() {
	for i := 0; i < 50; i++ {
		background := first(context.WithCancel(context.Background()))
		todo := first(context.WithCancel(context.WithValue(context.TODO(), key(0), i)))
		without := first(context.WithCancel(context.WithoutCancel(c.root)))
		own := first(context.WithCancel(foreign{c.root, make(chan struct{})}))
		cancelled, cancel := context.WithCancel(c.root)
		cancel()
		c.note("kept", background, nil)
		c.note("kept", todo, nil)
		c.note("kept", without, nil)
		c.note("foreign", own, nil)
		c.note("cancelled", cancelled, nil)
		for _, ctx := range []context.Context{background, todo, without, own, cancelled} {
			c.kept[len(c.kept)] = ctx
		}
	}
}

// dropped makes what nobody keeps.
func (c *contexts) dropped() {
	for i := 0; i < 500; i++ {
		parent := context.Background()
		if i%2 == 0 {
			parent = context.WithoutCancel(c.root)
		}
		c.note("dropped", first(context.WithCancel(parent)), nil)
	}
}

// functions makes contexts of which the cancel functions are kept, by various means, or forgotten.
func (c *contexts) functions() {
	parent := first(context.WithCancel(context.Background()))
	c.kept[len(c.kept)] = parent
	for i := 0; i < 32; i++ {
		forgotten := first(context.WithCancel(parent))
		c.note("forgotten", forgotten, parent)
		c.note("forgotten", firstOfCause(context.WithCancelCause(parent)), parent)
		stored, cancel := context.WithCancel(parent)
		c.funcs = append(c.funcs, cancel)
		c.note("callable", stored, parent)
		caused, cancelCause := context.WithCancelCause(parent)
		c.funcs = append(c.funcs, func() { cancelCause(nil) })
		c.note("callable", caused, parent)
		waited, cancelWaited := context.WithCancel(parent)
		c.note("callable", waited, parent)
		go callLater(waited, cancelWaited)
	}
}

// callLater keeps a cancel function on its stack.
func callLater(ctx context.Context, cancel context.CancelFunc) {
	defer cancel()
	<-ctx.Done()
}

func (c *contexts) note(name string, ctx, holder context.Context) {
	if c.groups[name] == nil {
		c.groups[name] = &group{}
	}
	noted := c.groups[name]
	noted.Addresses = append(noted.Addresses, fmt.Sprintf("%p", ctx))
	if holder != nil {
		noted.Holders = append(noted.Holders, fmt.Sprintf("%p", holder))
	}
	if deadline, ok := ctx.Deadline(); ok {
		noted.Deadlines = append(noted.Deadlines, deadline.UnixNano())
	}
}

func (c *contexts) command(line string) any {
	switch line {
	case "churn": // the root's map grows, and others come and go
		c.stop = make(chan struct{})
		go c.churn(c.stop)
	case "serve": // requests under one parent, while the collector runs
		c.stop = make(chan struct{})
		parent := first(context.WithCancel(context.Background()))
		c.note("server", parent, parent)
		for i := 0; i < 64; i++ {
			go serve(parent, c.stop)
		}
		go collect(c.stop)
	case "leak": // more children of the root, slowly
		go c.leak()
	case "quiet":
		close(c.stop)
	}
	return c.groups
}

func (c *contexts) churn(stop chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		ctx, cancel := context.WithCancel(c.root)
		if i%64 == 0 {
			c.kept[len(c.kept)] = first(context.WithCancel(ctx))
			_ = first(context.WithCancel(c.root))
		}
		cancel()
	}
}

// serve handles requests of some milliseconds each, one after the other.
func serve(parent context.Context, stop chan struct{}) {
	for {
		ctx, cancel := context.WithCancel(parent)
		select {
		case <-stop:
		case <-ctx.Done():
		case <-time.After(8 * time.Millisecond):
		}
		cancel()
		select {
		case <-stop:
			return
		default:
		}
	}
}

// collect runs the collector again and again.
func collect(stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(15 * time.Millisecond):
			runtime.GC()
		}
	}
}

func (c *contexts) leak() {
	for range time.Tick(10 * time.Millisecond) {
		_ = first(context.WithCancel(c.root))
	}
}

// first forgets how to cancel a context.
func first(ctx context.Context, _ context.CancelFunc) context.Context { return ctx }

func firstOfCause(ctx context.Context, _ context.CancelCauseFunc) context.Context { return ctx }
