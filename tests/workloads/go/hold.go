package main

import (
	"context"
	"sync"
	"time"
)

// hold is honest: it makes many contexts at its start, needs all of them as
// long as it lives, and makes no more of them.
func hold(args []string) {
	l := newLife("hold")
	count := l.flags.Int("count", 2000, "contexts to hold")
	l.run(args, func() any {
		all := sites{}
		parent, held, requests := newParent(all), all.add("hold"), all.add("request")
		var group sync.WaitGroup
		spawn(&group, func() { requestLoop(l, parent, requests) })
		// In steps of 10 ms over 3 s.
		const steps = 300
		step := 0
		l.tick(10*time.Millisecond, func() bool {
			step++
			for held.created.Load() < int64(*count*step/steps) {
				keep(holdOne(parent, held))
			}
			return step < steps
		})
		group.Wait()
		return all
	})
}

func holdOne(parent context.Context, s *site) context.CancelFunc {
	_, cancel := context.WithCancel(parent) // site: hold
	s.created.Add(1)
	return cancel
}
