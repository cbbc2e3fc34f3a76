package main

import (
	"context"

	"leaktrace.example/workload/viac"
)

// callbacks creates contexts in callbacks from C, which leaves something else in
// the frame pointer each time. Without cgo it creates none.
func callbacks(args []string) {
	l := newLife("callbacks")
	count := l.flags.Int("count", 300, "contexts")
	l.run(args, func() any {
		all := sites{}
		parent, created := newParent(all), all.add("callbacks")
		for i := 0; i < *count; i++ {
			viac.CallWild(func() { keep(createFromC(parent, created)) }, 0x10000+16*i)
		}
		return created
	})
}

//go:noinline
func createFromC(parent context.Context, created *site) context.CancelFunc {
	created.created.Add(1)
	_, cancel := context.WithCancel(parent) // site: callbacks
	return cancel
}
