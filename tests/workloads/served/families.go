package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"time"
)

// How many of each kind are left behind; the test knows the same figures.
const (
	bodies   = 7
	idle     = 5
	watchers = 9
)

// families leaves goroutines behind that are known by how they look: those of
// HTTP connections whose response was never closed, of idle ones, and of
// contexts under a parent of a type that package context does not know.
type families struct {
	answers []*http.Response // kept, never read
	cancels []context.CancelFunc
}

func init() { parts["families"] = &families{} }

func (f *families) setUp([]string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	}))
	for i := 0; i < bodies; i++ {
		f.answers = append(f.answers, get(server.URL))
	}
	for i := 0; i < idle; i++ {
		answer := get(server.URL)
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
	}
	for i := 0; i < watchers; i++ {
		parent := foreign{context.Background(), make(chan struct{})}
		_, cancel := context.WithCancel(parent)
		f.cancels = append(f.cancels, cancel)
	}
	for !parked() {
		time.Sleep(time.Millisecond)
	}
}

// parked tells whether all goroutines stand where they will stay, by the
// runtime's own dump.
func parked() bool {
	dump := make([]byte, 1<<20)
	dump = dump[:runtime.Stack(dump, true)]
	count := func(text string) int { return bytes.Count(dump, []byte(text)) }
	return count("[select]:\nnet/http.(*persistConn).readLoop(") == bodies &&
		count("\nnet/http.(*persistConn).readLoop(") == bodies+idle &&
		count("[select]:\nnet/http.(*persistConn).writeLoop(") == bodies+idle &&
		count("[select]:\ncontext.(*cancelCtx).propagateCancel.func2(") == watchers &&
		count("\nnet/http.(*conn).serve(") == bodies+idle &&
		count("\nnet/http.(*connReader).backgroundRead(") == 0
}

// get asks over a connection of its own.
func get(url string) *http.Response {
	answer, err := (&http.Client{Transport: &http.Transport{}}).Get(url)
	if err != nil {
		panic(err)
	}
	return answer
}

func (f *families) command(string) any { return nil }
