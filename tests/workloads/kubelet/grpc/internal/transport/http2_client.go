// Package transport is as much of gRPC's as the goroutine that reads a client's
// connection.
package transport

type http2Client struct{ frames chan int }

// NewHTTP2Client dials a connection that nobody closes.
func NewHTTP2Client() {
	t := &http2Client{make(chan int)}
	go t.reader()
}

func (t *http2Client) reader() {
	for range t.frames {
	}
}
