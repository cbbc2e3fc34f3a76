package main

import (
	"context"
	"time"
)

// background is careless but harmless: nothing holds a context below
// context.Background(), so the garbage collector frees what is not cancelled.
func background(args []string) {
	l := newLife("background")
	rate := l.flags.Int("rate", 200, "contexts per second")
	garbage := l.flags.Int("garbage", 64<<10, "bytes of garbage per context, so that the GC runs")
	l.run(args, func() any {
		all := sites{}
		s := all.add("background")
		var last droppedCancel
		l.tick(time.Second/time.Duration(*rate), func() bool {
			last.backgroundOne(s)
			makeGarbage(*garbage)
			return true
		})
		keep(last)
		return all
	})
}

func (d *droppedCancel) backgroundOne(s *site) {
	_, d.cancel = context.WithCancel(context.Background()) // site: background
	s.created.Add(1)
}
