// Command workload is the target of leaktrace's end-to-end tests: leaky
// programs and their honest twins, one subcommand each, in one file each.
//
// Every subcommand but callers speaks the protocol of protocol.go and knows
// the truth about what it created and released. A source line that creates
// contexts is marked with a trailing "leak: NAME" or "site: NAME" comment, so
// that tests find its number by text search.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	run := subcommand(os.Args[1])
	if run == nil {
		usage()
	}
	run(os.Args[2:])
}

func subcommand(name string) func(args []string) {
	switch name {
	case "podsync":
		return podsync
	case "exact":
		return exact
	case "hold":
		return hold
	case "burst":
		return burst
	case "warmup":
		return warmup
	case "steady":
		return steady
	case "timeouts":
		return timeouts
	case "background":
		return background
	case "churn":
		return churn
	case "callbacks":
		return callbacks
	case "callers":
		return callers
	case "starts":
		return starts
	case "paced":
		return paced
	case "relay":
		return relay
	}
	return nil
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: workload podsync|exact|hold|burst|warmup|steady|timeouts|"+
		"background|churn|callbacks|callers|starts|paced|relay [flags]")
	os.Exit(2)
}
