package main

import (
	"context"
	"runtime"
	"time"
)

// payloadKey is what payloads of contexts are found by.
type payloadKey struct{}

// deadline is far behind the end of every run.
const deadline = time.Hour

// makeOne makes one thing at the line of the part, and gives what lets it go:
// nothing else of what the program has keeps it, unless package context, the
// runtime, C or the map does.
func (p *player) makeOne(number uint8) func() {
	part := p.schedule.parts[number]
	switch part.kind {
	case kindContext:
		return contexts[number](over(p.parent, part.payload))
	case kindTimeout:
		return timeouts[number](over(p.parent, part.payload))
	case kindUnheld:
		return unheld[number](over(context.Background(), part.payload))
	case kindGoroutine:
		done := make(chan struct{})
		goroutines[number](done, filled(part.payload))
		return func() { close(done) }
	case kindBoth:
		ctx, cancel := boths[number](p.parent)
		waiters[number](ctx.Done(), filled(part.payload))
		return cancel
	case kindHeap:
		key := p.heapNext
		p.heapNext++
		p.heap[key] = touched(heaps[number](part.payload))
		return func() { delete(p.heap, key) }
	default:
		piece := natives[number](part.payload)
		return func() { free(piece) }
	}
}

// over hangs the payload on what is made under the context that it gives.
func over(parent context.Context, payload int) context.Context {
	if payload == 0 {
		return parent
	}
	return context.WithValue(parent, payloadKey{}, filled(payload))
}

// wait is what goroutines do.
func wait(done <-chan struct{}, payload []byte) {
	<-done
	runtime.KeepAlive(payload)
}

func filled(bytes int) []byte {
	if bytes == 0 {
		return nil
	}
	return touched(make([]byte, bytes)) // site: payload
}

// touched makes all pages resident: fresh ones are not written to by make.
func touched(bytes []byte) []byte {
	for i := 0; i < len(bytes); i += 4096 {
		bytes[i] = 1
	}
	return bytes
}
