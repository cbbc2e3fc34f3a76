// Command served is inspected from outside while it serves its own profiles,
// which are the truth about it, on a loopback port.
//
// It is started with the name of a part and that part's flags, prints
// "ready pid=N port=N", and then obeys one command per line of its standard
// input, each answered by one line "ok {json}": "gc" collects garbage twice,
// anything else goes to the part. It ends with its standard input.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
)

// part is one thing to look at: it sets itself up with its arguments, and
// answers commands with the truth about itself.
type part interface {
	setUp(args []string)
	command(line string) any
}

// parts are all of them, by name; each file registers its own.
var parts = map[string]part{}

func main() {
	if len(os.Args) < 2 || parts[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: served PART [FLAGS]")
		os.Exit(2)
	}
	chosen := parts[os.Args[1]]
	chosen.setUp(os.Args[2:])
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, "served: can't listen:", err)
		os.Exit(1)
	}
	go func() { _ = http.Serve(listener, nil) }() // until the process ends
	fmt.Printf("ready pid=%d port=%d\n", os.Getpid(), listener.Addr().(*net.TCPAddr).Port)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		answer(chosen, lines.Text())
	}
}

func answer(chosen part, line string) {
	var truth any
	if line == "gc" {
		// What dies in the first cycle is swept by the end of the second.
		runtime.GC()
		runtime.GC()
	} else {
		truth = chosen.command(line)
	}
	text, err := json.Marshal(truth)
	if err != nil {
		fmt.Fprintln(os.Stderr, "served: can't write the truth:", err)
		os.Exit(1)
	}
	fmt.Printf("ok %s\n", text)
}
