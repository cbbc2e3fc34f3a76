// Command player carries out the schedule of one scenario of the accuracy
// benchmark: what is made when, and until when, was decided before it starts,
// so that the truth about it is known.
//
// It is started with the file of the schedule (see schedule.go), prints
// "ready pid=N", and obeys one command per line of its standard input, each
// answered by one line "ok {truth}": "begin" makes what is left of the time
// before 0, lives through the last of it (-warm), and answers at time 0;
// "truth" says what was done so far. With -ends it says "end {truth}" at that
// time, and ends in the middle of its work. It ends with its standard input,
// and after 15 minutes at the latest.
//
// A source line that makes things is marked with a trailing "site: KIND N"
// comment, where N is the part of the scenario.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"
)

// maxLife bounds every run, so that a test that died leaves nothing behind.
const maxLife = 15 * time.Minute

func main() {
	warm := flag.Duration("warm", 8*time.Second, "how much of the time before 0 is lived through")
	garbage := flag.Float64("garbage", 4, "MiB of garbage per second")
	ends := flag.Duration("ends", maxLife, "end so long after time 0")
	flag.Parse()
	schedule, err := openSchedule(flag.Arg(0))
	check(err)
	fmt.Printf("ready pid=%d\n", os.Getpid())
	time.AfterFunc(maxLife, func() { os.Exit(0) })
	p := newPlayer(schedule, *warm, *garbage)
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		switch input.Text() {
		case "begin":
			warmed := make(chan struct{})
			go p.play(warmed, *ends)
			<-warmed
			answer("ok", p.truth())
		case "truth":
			answer("ok", p.truth())
		}
	}
	fmt.Println("bye")
}

func answer(word string, truth truth) {
	text, err := json.Marshal(truth)
	check(err)
	fmt.Printf("%s %s\n", word, text)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "player:", err)
		os.Exit(1)
	}
}
