package main

import (
	"context"
	"sync/atomic"
	"time"
)

// requestLoop serves about 100 requests a second, each with a context of its
// own that is cancelled at its end.
func requestLoop(l *life, parent context.Context, s *site) {
	l.tick(10*time.Millisecond, func() bool {
		serve(parent, s)
		return true
	})
}

func serve(parent context.Context, s *site) {
	ctx, cancel := context.WithTimeout(parent, 5*time.Second) // site: request
	s.created.Add(1)
	defer func() {
		cancel()
		s.released.Add(1)
	}()
	select {
	case <-ctx.Done():
	default:
		makeGarbage(1024)
	}
}

// makeGarbage allocates small blocks on the heap and forgets them.
func makeGarbage(bytes int) {
	for ; bytes > 0; bytes -= 1024 {
		block := make([]byte, 1024)
		garbage.Store(&block)
	}
}

// garbage makes blocks escape to the heap.
var garbage atomic.Pointer[[]byte]

// burstLoop makes count contexts at once, holds them, cancels all of them, and
// does it again when every has passed.
func burstLoop(l *life, parent context.Context, s *site, count int, every, held time.Duration) {
	l.tick(every, func() bool {
		cancels := make([]context.CancelFunc, 0, count)
		for i := 0; i < count; i++ {
			cancels = append(cancels, burstOne(parent, s))
		}
		goOn := l.pause(held)
		for _, cancel := range cancels {
			cancel()
			s.released.Add(1)
		}
		return goOn
	})
}

func burstOne(parent context.Context, s *site) context.CancelFunc {
	_, cancel := context.WithCancel(parent) // site: burst
	s.created.Add(1)
	return cancel
}
