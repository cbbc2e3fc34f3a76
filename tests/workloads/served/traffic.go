package main

import (
	"sync/atomic"
	"time"
)

// traffic allocates at two places without end: at one everything is garbage
// at once, at the other everything is kept. It says how many bytes by now.
type traffic struct {
	churned, grown atomic.Int64
	garbage        []byte
	kept           [][]byte
}

// trafficTruth is how many bytes were allocated so far.
type trafficTruth struct {
	Churned int64
	Grown   int64
}

const (
	churnedBytes = 32 << 10
	grownBytes   = 64 << 10
)

func init() { parts["traffic"] = &traffic{} }

func (t *traffic) setUp([]string) {
	go func() {
		for range time.Tick(10 * time.Millisecond) {
			for i := 0; i < 10; i++ {
				t.churnOne()
			}
			t.growOne()
		}
	}()
}

//go:noinline
func (t *traffic) churnOne() {
	t.garbage = make([]byte, churnedBytes)
	t.churned.Add(churnedBytes)
}

//go:noinline
func (t *traffic) growOne() {
	t.kept = append(t.kept, make([]byte, grownBytes))
	t.grown.Add(grownBytes)
}

func (t *traffic) command(string) any {
	return trafficTruth{t.churned.Load(), t.grown.Load()}
}
