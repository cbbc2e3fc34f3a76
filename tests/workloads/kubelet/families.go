package main

import (
	"github.com/containerd/ttrpc"
	"github.com/google/cadvisor/manager"
	"github.com/moby/spdystream"
	"google.golang.org/grpc"
	"k8s.io/client-go/tools/cache"
)

// leaveFamilies leaves goroutines behind that are known by where they wait, of
// each family another number: see tests/signatures.rs.
func leaveFamilies() {
	informer := new(cache.SharedProcessor)
	repeat(3, informer.AddEventHandler)
	repeat(5, manager.StartContainer)
	new(spdystream.Connection).Serve(7)
	repeat(11, func() { grpc.NewClient() })
	repeat(13, func() { ttrpc.NewClient() })
	conn := grpc.NewClient()
	repeat(17, func() { go conn.Invoke() })
}

func repeat(times int, what func()) {
	for i := 0; i < times; i++ {
		what()
	}
}
