package main

import "time"

// burst is honest: many contexts at once, held for a while, all cancelled.
func burst(args []string) {
	l := newLife("burst")
	count := l.flags.Int("count", 400, "contexts per burst")
	every := l.flags.Duration("every", 3*time.Second, "time from burst to burst")
	held := l.flags.Duration("hold", 2*time.Second, "how long a burst is held")
	l.run(args, func() any {
		all := sites{}
		burstLoop(l, newParent(all), all.add("burst"), *count, *every, *held)
		return all
	})
}
