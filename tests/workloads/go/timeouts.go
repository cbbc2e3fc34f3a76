package main

import (
	"context"
	"time"
)

// droppedCancel is where a cancel function is forgotten: the next one
// overwrites it.
type droppedCancel struct {
	cancel context.CancelFunc
}

// timeouts is careless but bounded: it drops the cancel functions of contexts
// that their own timers release.
func timeouts(args []string) {
	l := newLife("timeouts")
	rate := l.flags.Int("rate", 50, "contexts per second")
	timeout := l.flags.Duration("timeout", 5*time.Second, "time until a context releases itself")
	l.run(args, func() any {
		all := sites{}
		parent, s := newParent(all), all.add("timeouts")
		var last droppedCancel
		l.tick(time.Second/time.Duration(*rate), func() bool {
			last.timeoutOne(parent, s, *timeout)
			return true
		})
		keep(last)
		return all
	})
}

func (d *droppedCancel) timeoutOne(parent context.Context, s *site, timeout time.Duration) {
	_, d.cancel = context.WithTimeout(parent, timeout) // site: timeouts
	s.created.Add(1)
	time.AfterFunc(timeout, func() { s.released.Add(1) })
}
