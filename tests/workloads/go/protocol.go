package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// maxLife bounds every run, so that a test that died leaves nothing behind.
const maxLife = 10 * time.Minute

// life is what a subcommand agrees on with the test that started it:
//
//	ready pid=N     printed first
//	started         with -wait: a line came in, contexts are created from now on
//	done {truth}    the finite work is over, or the end was asked for
//	bye             after end of input, SIGTERM, SIGINT or -for; exit status 0
type life struct {
	flags   *flag.FlagSet
	wait    *bool
	limit   *time.Duration
	line    chan struct{}
	stopped chan struct{}
	stop    func()
}

func newLife(name string) *life {
	flags := flag.NewFlagSet(name, flag.ExitOnError)
	l := &life{
		flags:   flags,
		wait:    flags.Bool("wait", false, "wait for a line on stdin before starting"),
		limit:   flags.Duration("for", maxLife, "live at most this long (never over 10m)"),
		line:    make(chan struct{}),
		stopped: make(chan struct{}),
	}
	l.stop = sync.OnceFunc(func() { close(l.stopped) })
	return l
}

// run parses the arguments, lets work run, prints its truth, and exits the
// process when the end is asked for. work returns early once l is over.
func (l *life) run(args []string, work func() any) {
	_ = l.flags.Parse(args) // ExitOnError
	fmt.Printf("ready pid=%d\n", os.Getpid())
	l.watch()
	if *l.wait {
		select {
		case <-l.line:
			fmt.Println("started")
		case <-l.stopped:
			l.bye()
		}
	}
	truth, err := json.Marshal(work())
	if err != nil {
		fmt.Fprintln(os.Stderr, "workload: can't write the truth:", err)
		os.Exit(1)
	}
	fmt.Printf("done %s\n", truth)
	<-l.stopped
	l.bye()
}

// watch ends l at end of input, at a signal, or when its time is up.
func (l *life) watch() {
	time.AfterFunc(min(*l.limit, maxLife), l.stop)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	go func() {
		<-signals
		l.stop()
	}()
	if *l.wait || !stdinIsNull() {
		go l.readStdin()
	}
}

func (l *life) readStdin() {
	input := bufio.NewScanner(os.Stdin)
	if input.Scan() {
		close(l.line)
		for input.Scan() {
		}
	}
	l.stop()
}

func (l *life) bye() {
	fmt.Println("bye")
	os.Exit(0)
}

// part returns a life that can be stopped by itself and ends with l.
func (l *life) part() *life {
	part := &life{stopped: make(chan struct{})}
	part.stop = sync.OnceFunc(func() { close(part.stopped) })
	go func() {
		select {
		case <-l.stopped:
			part.stop()
		case <-part.stopped:
		}
	}()
	return part
}

// over tells whether the end was asked for.
func (l *life) over() bool {
	select {
	case <-l.stopped:
		return true
	default:
		return false
	}
}

// pause sleeps, and tells whether work goes on.
func (l *life) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-l.stopped:
		return false
	case <-timer.C:
		return true
	}
}

// tick calls f at a steady rate until f says no or the end is asked for.
func (l *life) tick(every time.Duration, f func() bool) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for f() {
		select {
		case <-l.stopped:
			return
		case <-ticker.C:
		}
	}
}

// stdinIsNull tells whether there is no one who could close our stdin.
func stdinIsNull() bool {
	stdin, err := os.Stdin.Stat()
	if err != nil {
		return true
	}
	null, err := os.Stat(os.DevNull)
	return err == nil && os.SameFile(stdin, null)
}

// fail reports a wrong flag value.
func fail(message string) {
	fmt.Fprintln(os.Stderr, "workload:", message)
	os.Exit(2)
}
