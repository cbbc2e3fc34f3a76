package main

import (
	"context"
	"sync"
)

// exactDepths is how many depths of recursion there are, thus call chains.
const exactDepths = 4

// exactWindow is how many contexts a worker has open before it cancels the
// oldest, so that addresses are not reused at once.
const exactWindow = 16

// exactWorker creates its share of the contexts.
type exactWorker struct {
	parent    context.Context
	site      *site
	depth     int
	keepEvery int
	kept      []context.CancelFunc
	open      []context.CancelFunc
}

// exact creates a known number of contexts in deep, growing stacks and cancels
// all but a known number of them, some of them twice.
func exact(args []string) {
	l := newLife("exact")
	goroutines := l.flags.Int("goroutines", 8, "workers")
	creations := l.flags.Int("creations", 20000, "contexts in total over all workers")
	keepEvery := l.flags.Int("keep-every", 10, "never cancel each n-th, 0: cancel all")
	depth := l.flags.Int("depth", 40, "deepest recursion")
	l.run(args, func() any {
		all := sites{}
		parent, created := newParent(all), all.add("exact")
		var group sync.WaitGroup
		for i := 0; i < *goroutines; i++ {
			share := *creations / *goroutines
			if i < *creations%*goroutines {
				share++
			}
			worker := &exactWorker{parent: parent, site: created, depth: *depth, keepEvery: *keepEvery}
			keep(worker)
			spawn(&group, func() { worker.work(l, share) })
		}
		group.Wait()
		return created
	})
}

func (w *exactWorker) work(l *life, share int) {
	made := make(chan context.CancelFunc)
	for i := 0; i < share && !l.over(); i++ {
		depth := w.depth * (i%exactDepths + 1) / exactDepths
		// A fresh goroutine has a small stack, which grows on the way down.
		go func() { made <- w.descend(depth, [256]byte{byte(i)}) }()
		cancel := <-made
		if w.keepEvery > 0 && i%w.keepEvery == 0 {
			w.kept = append(w.kept, cancel)
			continue
		}
		w.open = append(w.open, cancel)
		if len(w.open) > exactWindow {
			w.release(i%7 == 0)
		}
	}
	for len(w.open) > 0 {
		w.release(false)
	}
}

// release cancels the oldest open context.
func (w *exactWorker) release(twice bool) {
	cancel := w.open[0]
	w.open = w.open[1:]
	cancel()
	w.site.released.Add(1)
	if twice {
		cancel()
	}
}

//go:noinline
func (w *exactWorker) descend(depth int, frame [256]byte) context.CancelFunc {
	if depth <= 0 {
		return w.create()
	}
	frame[depth%len(frame)]++
	return w.descend(depth-1, frame)
}

//go:noinline
func (w *exactWorker) create() context.CancelFunc {
	_, cancel := context.WithCancel(w.parent) // site: exact
	w.site.created.Add(1)
	return cancel
}
