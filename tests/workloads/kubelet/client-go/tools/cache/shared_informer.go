// Package cache is as much of client-go's informers as the two goroutines of
// each event handler.
package cache

import "k8s.io/apimachinery/pkg/util/wait"

type processorListener struct{ nextCh, addCh chan any }

// SharedProcessor has the listeners of an informer.
type SharedProcessor struct{ wg wait.Group }

// AddEventHandler adds a listener, which runs until its informer stops.
func (p *SharedProcessor) AddEventHandler() {
	listener := &processorListener{make(chan any), make(chan any)}
	p.wg.Start(listener.run)
	p.wg.Start(listener.pop)
}

func (p *processorListener) pop() {
	defer close(p.nextCh)
	for notification := range p.addCh {
		p.nextCh <- notification
	}
}

func (p *processorListener) run() {
	for range p.nextCh {
	}
}
