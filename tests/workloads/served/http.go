package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"
)

// client asks a server of its own again and again, each time over a new
// connection: the transport dials under a context that nobody can cancel and
// nobody holds.
type client struct{ asked atomic.Int64 }

func init() { parts["client"] = &client{} }

func (c *client) setUp([]string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	}))
	go func() {
		for range time.Tick(10 * time.Millisecond) {
			c.ask(server.URL)
		}
	}()
}

func (c *client) ask(url string) {
	transport := &http.Transport{DisableKeepAlives: true}
	answer, err := (&http.Client{Transport: transport}).Get(url)
	if err != nil {
		panic(err)
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
	c.asked.Add(1)
}

func (c *client) command(string) any { return c.asked.Load() }
