package main

import (
	"sync"
	"time"
)

// warmupStep is the size of one cache entry.
const warmupStep = 64 << 10

// warmup is honest: a cache fills up, then the heap stays as it is. Requests
// are served all the time.
func warmup(args []string) {
	l := newLife("warmup")
	bytes := l.flags.Int("bytes", 64<<20, "size of the full cache")
	over := l.flags.Duration("over", 8*time.Second, "how long the cache takes to fill")
	l.run(args, func() any {
		all := sites{}
		parent, requests := newParent(all), all.add("request")
		var group sync.WaitGroup
		spawn(&group, func() { requestLoop(l, parent, requests) })
		entries := max(1, *bytes/warmupStep)
		filled := 0
		l.tick(max(time.Microsecond, *over/time.Duration(entries)), func() bool {
			keep(warmupEntry())
			filled++
			return filled < entries
		})
		group.Wait()
		return all
	})
}

func warmupEntry() []byte {
	entry := make([]byte, warmupStep)
	for i := range entry {
		entry[i] = byte(i) // resident, not just reserved
	}
	return entry
}
