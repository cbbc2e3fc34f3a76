// Package wait is as much of apimachinery's as starts an informer's listeners.
package wait

import "sync"

// Group waits for the goroutines that it starts.
type Group struct{ wg sync.WaitGroup }

// Start runs f in a goroutine of the group.
func (g *Group) Start(f func()) {
	g.wg.Add(1)
	go func() {
		defer g.wg.Done()
		f()
	}()
}
