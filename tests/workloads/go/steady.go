package main

import (
	"context"
	"time"
)

// steadyContext is one open context of steady.
type steadyContext struct {
	since  time.Time
	cancel context.CancelFunc
}

// steady is honest: contexts come at a fixed rate, and each is cancelled when
// it has lived for a fixed time.
func steady(args []string) {
	l := newLife("steady")
	rate := l.flags.Int("rate", 50, "contexts per second")
	lives := l.flags.Duration("life", 4*time.Second, "life of one context")
	l.run(args, func() any {
		all := sites{}
		parent, s := newParent(all), all.add("steady")
		var open []steadyContext
		l.tick(time.Second/time.Duration(*rate), func() bool {
			now := time.Now()
			for len(open) > 0 && now.Sub(open[0].since) >= *lives {
				open[0].cancel()
				s.released.Add(1)
				open = open[1:]
			}
			open = append(open, steadyContext{now, steadyOne(parent, s)})
			return true
		})
		return all
	})
}

func steadyOne(parent context.Context, s *site) context.CancelFunc {
	_, cancel := context.WithCancel(parent) // site: steady
	s.created.Add(1)
	return cancel
}
