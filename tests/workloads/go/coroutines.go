//go:build go1.23

package main

import "iter"

// coroutine makes a coroutine and ends it, unless it is to be kept.
//
//go:noinline
func (s *starter) coroutine(i int) {
	site := s.sites["coroutine"]
	next, stop := iter.Pull(numbers)
	next()
	kept := site.keepEvery > 0 && i%site.keepEvery == 0
	if kept {
		keep(next)
	} else {
		stop()
	}
	site.mu.Lock()
	defer site.mu.Unlock()
	site.Started++
	site.arrived++
	if !kept {
		site.Ended++
	}
}

func numbers(yield func(int) bool) {
	for i := 0; yield(i); i++ {
	}
}
