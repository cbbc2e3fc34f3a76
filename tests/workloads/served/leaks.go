package main

import (
	"context"
	"flag"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// leaks starts goroutines in the ways that are known to leak, each at a line of
// its own, at a steady rate. All but every so many are let go after a while;
// the honest twin starts as many and lets all go. Beside them, shapes of honest
// programs that look like leaks for a while (see shapes.go).
//
// "begin" starts, "truth" tells how it stands, "stop" ends everything that is
// not leaked and tells how it stands then.
type leaks struct {
	leaky, began bool
	every, life  time.Duration
	keep         int
	only         string
	counts       map[string]*leakCounts
	stopped      chan struct{}
	loops        sync.WaitGroup
	site         string // of the loopback server
	client       *http.Client
	churnRate    int
	parent       context.Context
	end          context.CancelFunc
}

// leakCounts are of one way to leak.
type leakCounts struct {
	Started atomic.Int64
	Leaked  atomic.Int64
}

// leakTruth is what is true at one moment.
type leakTruth struct {
	Goroutines int              `json:"goroutines"`
	Started    map[string]int64 `json:"started"`
	Leaked     map[string]int64 `json:"leaked"`
	// StackBytes are of all stacks, and RSSBytes of the anonymous memory.
	StackBytes uint64 `json:"stack_bytes"`
	RSSBytes   uint64 `json:"rss_bytes"`
}

// leakWay starts a goroutine, or a few that belong together, and returns what
// lets them go; one that is to be forgotten will not be let go.
type leakWay func(forget bool) (letGo func())

func init() {
	parts["leaks"] = &leaks{counts: map[string]*leakCounts{}, stopped: make(chan struct{})}
}

func (l *leaks) setUp(args []string) {
	flags := flag.NewFlagSet("leaks", flag.ExitOnError)
	flags.BoolVar(&l.leaky, "leaky", false, "forget every so many")
	flags.DurationVar(&l.every, "every", 50*time.Millisecond, "time between two of a kind")
	flags.DurationVar(&l.life, "life", 600*time.Millisecond, "how long one lives that is let go")
	flags.IntVar(&l.keep, "keep", 4, "forget each n-th")
	flags.StringVar(&l.only, "only", "", "names of those that are started, with commas; all")
	flags.IntVar(&l.churnRate, "churn", 10000, "goroutines per second of the churn")
	standing := flags.Int("standing", 0, "goroutines that stand from the start")
	labelled := flags.Int("labelled", 0, "goroutines with a label of their own")
	_ = flags.Parse(args) // ExitOnError
	l.serve()
	l.parent, l.end = context.WithCancel(context.Background())
	for i := 0; i < *standing; i++ {
		go stand(l.stopped) // site: standing
	}
	for i := 0; i < *labelled; i++ {
		labels := pprof.Labels("request", strconv.Itoa(i))
		pprof.Do(context.Background(), labels, func(context.Context) { go stand(l.stopped) })
	}
	settle()
}

func stand(until chan struct{}) { <-until }

func (l *leaks) command(line string) any {
	switch line {
	case "begin":
		l.begin()
	case "stop":
		close(l.stopped)
		l.loops.Wait()
		l.calm()
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	truth := leakTruth{
		Goroutines: runtime.NumGoroutine(),
		Started:    map[string]int64{},
		Leaked:     map[string]int64{},
		StackBytes: memory.StackInuse,
		RSSBytes:   anonymous(),
	}
	for name, counts := range l.counts {
		truth.Started[name] = counts.Started.Load()
		truth.Leaked[name] = counts.Leaked.Load()
	}
	return truth
}

// anonymous is how much of its memory is resident and of no file.
func anonymous() uint64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssAnon:")
	kib, err := strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		panic(err)
	}
	return kib << 10
}

func (l *leaks) begin() {
	for name, way := range map[string]leakWay{
		"send":      leakSend,
		"receive":   leakReceive,
		"ticker":    leakTicker,
		"informer":  leakInformer,
		"watcher":   leakWatcher,
		"waitgroup": leakWaitGroup,
		"mutex":     leakMutex,
		"body":      l.leakBody,
		"session":   l.leakSession,
		"deep":      leakDeep,
	} {
		name, way := name, way
		l.loop(name, func(counts *leakCounts) { l.repeat(name, way, counts) })
	}
	l.loop("after", l.after)
	l.loop("pool", l.pool)
	l.loop("burst", l.burst)
	l.loop("warmup", l.warmup)
	l.loop("long", l.long)
	l.loop("churn", l.churn)
}

// loop runs one kind, if it is asked for.
func (l *leaks) loop(name string, run func(*leakCounts)) {
	if l.only != "" && !strings.Contains(","+l.only+",", ","+name+",") {
		return
	}
	counts := new(leakCounts)
	l.counts[name] = counts
	l.loops.Add(1)
	go func() {
		defer l.loops.Done()
		run(counts)
	}()
}

// due is one that is to be let go.
type due struct {
	at    time.Time
	letGo func()
}

// repeat starts one after the other and lets go those whose time has come.
func (l *leaks) repeat(name string, way leakWay, counts *leakCounts) {
	var alive []due
	for i := 1; l.pause(l.every); i++ {
		forget := l.leaky && i%l.keep == 0
		labels := pprof.Labels("controller", name, "tenant", "t"+strconv.Itoa(i/l.keep%3))
		pprof.Do(context.Background(), labels, func(context.Context) {
			letGo := way(forget)
			if !forget {
				alive = append(alive, due{time.Now().Add(l.life), letGo})
			}
		})
		counts.Started.Add(1)
		if forget {
			counts.Leaked.Add(1)
		}
		for len(alive) > 0 && time.Now().After(alive[0].at) {
			alive[0].letGo()
			alive = alive[1:]
		}
	}
	for _, one := range alive {
		one.letGo()
	}
}

// pause sleeps, and tells whether work goes on.
func (l *leaks) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-l.stopped:
		return false
	case <-timer.C:
		return true
	}
}

// calm waits until no goroutine ends any more.
func (l *leaks) calm() {
	for same, last := 0, 0; same < 8; same++ {
		time.Sleep(50 * time.Millisecond)
		if now := runtime.NumGoroutine(); now != last {
			same, last = 0, now
		}
	}
	settle()
}

func leakSend(bool) func() {
	result := make(chan int)
	go func() { result <- 1 }() // leak: send
	return func() { <-result }
}

func leakReceive(bool) func() {
	request := make(chan int)
	go func() { <-request }() // leak: receive
	return func() { request <- 1 }
}

// leakTicker polls something now and then until it is told to stop.
func leakTicker(bool) func() {
	ticker, stop := time.NewTicker(500*time.Millisecond), make(chan struct{})
	go poll(ticker, stop) // leak: ticker
	return func() { close(stop) }
}

func poll(ticker *time.Ticker, stop chan struct{}) {
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-stop:
			return
		}
	}
}

// listener is like client-go's processorListener: two goroutines that end
// together when the channel of additions is closed.
type listener struct{ add, next chan int }

func leakInformer(bool) func() {
	registered := &listener{make(chan int), make(chan int)}
	go registered.run() // leak: informer run
	go registered.pop() // leak: informer pop
	return func() { close(registered.add) }
}

func (r *listener) run() {
	for range r.next {
	}
}

func (r *listener) pop() {
	defer close(r.next)
	var pending []int
	for {
		var next chan int
		first := 0
		if len(pending) > 0 {
			next, first = r.next, pending[0]
		}
		select {
		case next <- first:
			pending = pending[1:]
		case added, open := <-r.add:
			if !open {
				return
			}
			pending = append(pending, added)
		}
	}
}

// leakWatcher always cancels; one that is forgotten does not look at it.
func leakWatcher(forget bool) func() {
	ctx, cancel := context.WithCancel(context.Background())
	events := make(chan int)
	go watch(ctx, events, forget) // leak: watcher
	if forget {
		cancel()
	}
	return cancel
}

func watch(ctx context.Context, events chan int, ignores bool) {
	if ignores {
		for range events {
		}
		return
	}
	select {
	case <-events:
	case <-ctx.Done():
	}
}

// leakSession leaks both: the goroutine waits for a context that is forgotten.
func (l *leaks) leakSession(bool) func() {
	ctx, cancel := context.WithCancel(l.parent) // leak: session context
	go func() { <-ctx.Done() }()                // leak: session
	return cancel
}

func leakWaitGroup(bool) func() {
	group, all := new(sync.WaitGroup), make(chan struct{})
	group.Add(1)
	go func() { // leak: waitgroup
		group.Wait()
		close(all)
	}()
	return group.Done
}

func leakMutex(bool) func() {
	mu := new(sync.Mutex)
	mu.Lock()
	go func() { // leak: mutex
		mu.Lock()
		defer mu.Unlock()
	}()
	return mu.Unlock
}

// leakDeep waits far down its stack, of which nearly all is in use.
func leakDeep(bool) func() {
	request := make(chan int)
	go func() { descend(deepCalls, request) }() // leak: deep
	return func() { request <- 1 }
}

// deepCalls of a KiB each and some words take up nearly all of 128 KiB.
const deepCalls = 110

//go:noinline
func descend(calls int, request chan int) byte {
	var local [1024]byte
	for i := range local {
		local[i] = byte(calls)
	}
	if calls == 0 {
		<-request
		return 0
	}
	return local[calls] + descend(calls-1, request)
}

// serve is for leakBody.
func (l *leaks) serve() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	text := []byte(strings.Repeat("x", 1024))
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(text) })
	go func() { _ = http.Serve(listener, answer) }()
	l.site = "http://" + listener.Addr().String()
	// The honest twin would use one connection for all.
	l.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
}

// leakBody neither reads nor closes the body of a response.
func (l *leaks) leakBody(bool) func() {
	response, err := l.client.Get(l.site)
	if err != nil {
		panic(err)
	}
	return func() { _ = response.Body.Close() }
}
