// Package spdystream is as much of a connection as the goroutines that wait for
// its frames.
package spdystream

import "sync"

// PriorityFrameQueue holds frames until they are popped.
type PriorityFrameQueue struct {
	cond   *sync.Cond
	frames []int
}

// Pop waits for a frame.
func (q *PriorityFrameQueue) Pop() int {
	q.cond.L.Lock()
	defer q.cond.L.Unlock()
	for len(q.frames) == 0 {
		q.cond.Wait()
	}
	first := q.frames[0]
	q.frames = q.frames[1:]
	return first
}

// Connection has a queue for each of its workers.
type Connection struct{}

// Serve starts a connection's workers.
func (s *Connection) Serve(workers int) {
	for i := 0; i < workers; i++ {
		queue := &PriorityFrameQueue{cond: sync.NewCond(new(sync.Mutex))}
		go func() {
			for queue.Pop() != 0 {
			}
		}()
	}
}
