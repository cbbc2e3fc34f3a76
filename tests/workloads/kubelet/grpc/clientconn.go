// Package grpc is as much of gRPC as connections and calls without an answer.
package grpc

import "google.golang.org/grpc/internal/transport"

// ClientConn is a connection.
type ClientConn struct{ answer chan int }

// NewClient dials.
func NewClient() *ClientConn {
	transport.NewHTTP2Client()
	return &ClientConn{make(chan int)}
}

// Invoke calls a method, and waits for its answer.
func (cc *ClientConn) Invoke() int { return <-cc.answer }
