package main

import "context"

// A line of its own for each part, so that it is seen which one is blamed.

// contexts are held by their parent.
var contexts = [partsMax]func(context.Context) context.CancelFunc{
	func(parent context.Context) context.CancelFunc { return second(context.WithCancel(parent)) }, // site: context 0
	func(parent context.Context) context.CancelFunc { return second(context.WithCancel(parent)) }, // site: context 1
	func(parent context.Context) context.CancelFunc { return second(context.WithCancel(parent)) }, // site: context 2
	func(parent context.Context) context.CancelFunc { return second(context.WithCancel(parent)) }, // site: context 3
	func(parent context.Context) context.CancelFunc { return second(context.WithCancel(parent)) }, // site: context 4
	func(parent context.Context) context.CancelFunc { return second(context.WithCancel(parent)) }, // site: context 5
	func(parent context.Context) context.CancelFunc { return second(context.WithCancel(parent)) }, // site: context 6
	func(parent context.Context) context.CancelFunc { return second(context.WithCancel(parent)) }, // site: context 7
}

// timeouts are held by their parent, and by their timer.
var timeouts = [partsMax]func(context.Context) context.CancelFunc{
	func(parent context.Context) context.CancelFunc { return second(context.WithTimeout(parent, deadline)) }, // site: timeout 0
	func(parent context.Context) context.CancelFunc { return second(context.WithTimeout(parent, deadline)) }, // site: timeout 1
	func(parent context.Context) context.CancelFunc { return second(context.WithTimeout(parent, deadline)) }, // site: timeout 2
	func(parent context.Context) context.CancelFunc { return second(context.WithTimeout(parent, deadline)) }, // site: timeout 3
	func(parent context.Context) context.CancelFunc { return second(context.WithTimeout(parent, deadline)) }, // site: timeout 4
	func(parent context.Context) context.CancelFunc { return second(context.WithTimeout(parent, deadline)) }, // site: timeout 5
	func(parent context.Context) context.CancelFunc { return second(context.WithTimeout(parent, deadline)) }, // site: timeout 6
	func(parent context.Context) context.CancelFunc { return second(context.WithTimeout(parent, deadline)) }, // site: timeout 7
}

// unheld are contexts that are garbage once their cancel function is.
var unheld = [partsMax]func(context.Context) context.CancelFunc{
	func(parent context.Context) context.CancelFunc { return second(context.WithCancel(parent)) }, // site: unheld 0
	func(parent context.Context) context.CancelFunc { return second(context.WithCancel(parent)) }, // site: unheld 1
	func(parent context.Context) context.CancelFunc { return second(context.WithCancel(parent)) }, // site: unheld 2
	func(parent context.Context) context.CancelFunc { return second(context.WithCancel(parent)) }, // site: unheld 3
	func(parent context.Context) context.CancelFunc { return second(context.WithCancel(parent)) }, // site: unheld 4
	func(parent context.Context) context.CancelFunc { return second(context.WithCancel(parent)) }, // site: unheld 5
	func(parent context.Context) context.CancelFunc { return second(context.WithCancel(parent)) }, // site: unheld 6
	func(parent context.Context) context.CancelFunc { return second(context.WithCancel(parent)) }, // site: unheld 7
}

// goroutines wait for a channel.
var goroutines = [partsMax]func(<-chan struct{}, []byte){
	func(done <-chan struct{}, payload []byte) { go wait(done, payload) }, // site: goroutine 0
	func(done <-chan struct{}, payload []byte) { go wait(done, payload) }, // site: goroutine 1
	func(done <-chan struct{}, payload []byte) { go wait(done, payload) }, // site: goroutine 2
	func(done <-chan struct{}, payload []byte) { go wait(done, payload) }, // site: goroutine 3
	func(done <-chan struct{}, payload []byte) { go wait(done, payload) }, // site: goroutine 4
	func(done <-chan struct{}, payload []byte) { go wait(done, payload) }, // site: goroutine 5
	func(done <-chan struct{}, payload []byte) { go wait(done, payload) }, // site: goroutine 6
	func(done <-chan struct{}, payload []byte) { go wait(done, payload) }, // site: goroutine 7
}

// boths are the contexts that waiters wait for.
var boths = [partsMax]func(context.Context) (context.Context, context.CancelFunc){
	func(parent context.Context) (context.Context, context.CancelFunc) { return context.WithCancel(parent) }, // site: both context 0
	func(parent context.Context) (context.Context, context.CancelFunc) { return context.WithCancel(parent) }, // site: both context 1
	func(parent context.Context) (context.Context, context.CancelFunc) { return context.WithCancel(parent) }, // site: both context 2
	func(parent context.Context) (context.Context, context.CancelFunc) { return context.WithCancel(parent) }, // site: both context 3
	func(parent context.Context) (context.Context, context.CancelFunc) { return context.WithCancel(parent) }, // site: both context 4
	func(parent context.Context) (context.Context, context.CancelFunc) { return context.WithCancel(parent) }, // site: both context 5
	func(parent context.Context) (context.Context, context.CancelFunc) { return context.WithCancel(parent) }, // site: both context 6
	func(parent context.Context) (context.Context, context.CancelFunc) { return context.WithCancel(parent) }, // site: both context 7
}

// waiters wait for a context of their own.
var waiters = [partsMax]func(<-chan struct{}, []byte){
	func(done <-chan struct{}, payload []byte) { go wait(done, payload) }, // site: both goroutine 0
	func(done <-chan struct{}, payload []byte) { go wait(done, payload) }, // site: both goroutine 1
	func(done <-chan struct{}, payload []byte) { go wait(done, payload) }, // site: both goroutine 2
	func(done <-chan struct{}, payload []byte) { go wait(done, payload) }, // site: both goroutine 3
	func(done <-chan struct{}, payload []byte) { go wait(done, payload) }, // site: both goroutine 4
	func(done <-chan struct{}, payload []byte) { go wait(done, payload) }, // site: both goroutine 5
	func(done <-chan struct{}, payload []byte) { go wait(done, payload) }, // site: both goroutine 6
	func(done <-chan struct{}, payload []byte) { go wait(done, payload) }, // site: both goroutine 7
}

// heaps are bytes of Go's heap.
var heaps = [partsMax]func(int) []byte{
	func(bytes int) []byte { return make([]byte, bytes) }, // site: heap 0
	func(bytes int) []byte { return make([]byte, bytes) }, // site: heap 1
	func(bytes int) []byte { return make([]byte, bytes) }, // site: heap 2
	func(bytes int) []byte { return make([]byte, bytes) }, // site: heap 3
	func(bytes int) []byte { return make([]byte, bytes) }, // site: heap 4
	func(bytes int) []byte { return make([]byte, bytes) }, // site: heap 5
	func(bytes int) []byte { return make([]byte, bytes) }, // site: heap 6
	func(bytes int) []byte { return make([]byte, bytes) }, // site: heap 7
}

func second(_ context.Context, cancel context.CancelFunc) context.CancelFunc { return cancel }
