package main

import (
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// startSite is one go statement with what it starts. Its goroutines end when
// they are told to, but for each n-th, which waits for good.
type startSite struct {
	// keepEvery is n; 0: all end.
	keepEvery int
	told      chan struct{}

	mu sync.Mutex
	// CreatorPC is the return address of the go statement; 0 where only the
	// runtime knows it.
	CreatorPC uintptr `json:"creator_pc"`
	// StartPC is the entry of what is started, of a wrapper if there is one.
	StartPC uintptr `json:"start_pc"`
	Started int     `json:"started"`
	Ended   int     `json:"ended"`
	// Stacks are the callers of those that started goroutines here.
	Stacks []*startStack `json:"stacks"`
	// creator is the entry of the function with the go statement.
	creator   uintptr
	createdAt uintptr
	arrived   int
}

// startStack is the physical return addresses above a function with a go
// statement.
type startStack struct {
	PCs     []uintptr `json:"pcs"`
	Started int       `json:"started"`
}

// never is what kept goroutines wait for.
var never = make(chan struct{})

// here is called right before or behind a go statement, by the function that
// has it.
//
//go:noinline
func (s *startSite) here() {
	physical := make([]uintptr, 128)
	physical = physical[:returnAddresses(physical)]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Started++
	s.creator = runtime.FuncForPC(physical[0] - 1).Entry()
	for _, known := range s.Stacks {
		if equalPCs(known.PCs, physical[1:]) {
			known.Started++
			return
		}
	}
	s.Stacks = append(s.Stacks, &startStack{physical[1:], 1})
}

func equalPCs(a, b []uintptr) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// arrive is called first by every goroutine that a site starts; it returns
// when that is to end.
//
//go:noinline
func (s *startSite) arrive() {
	physical := make([]uintptr, 64)
	physical = physical[:returnAddresses(physical)]
	s.mu.Lock()
	if s.StartPC == 0 {
		// The last is in runtime.goexit.
		s.StartPC = runtime.FuncForPC(physical[len(physical)-2] - 1).Entry()
		s.createdAt = createdAt()
	}
	s.arrived++
	kept := s.keepEvery > 0 && s.arrived%s.keepEvery == 0
	if !kept {
		s.Ended++
	}
	s.mu.Unlock()
	if kept {
		<-never
	}
	<-s.told
}

// createdAt is the offset of the return address of the go statement that
// started the running goroutine, in its function; the runtime says so at the
// end of its stack.
func createdAt() uintptr {
	text := make([]byte, 1<<16)
	text = text[:runtime.Stack(text, false)]
	hex := string(text[strings.LastIndex(string(text), "+0x")+3:])
	offset, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
	check(err)
	return uintptr(offset)
}

// starter starts goroutines in every way there is.
type starter struct {
	l     *life
	times int
	sites map[string]*startSite
	fresh sync.WaitGroup
}

// starts starts a known number of goroutines at known sites from several
// goroutines at once, and lets all end but a known number of them.
func starts(args []string) {
	l := newLife("starts")
	workers := l.flags.Int("workers", 4, "goroutines that start others")
	times := l.flags.Int("times", 100, "times that each worker goes to each site")
	keepEvery := l.flags.Int("keep-every", 5, "each n-th never ends, 0: all end")
	l.run(args, func() any {
		s := &starter{l: l, times: *times, sites: map[string]*startSite{}}
		told := make(chan struct{})
		for _, name := range startSites {
			s.sites[name] = &startSite{keepEvery: *keepEvery, told: told}
		}
		before := runtime.NumGoroutine()
		var group sync.WaitGroup
		for i := 0; i < *workers; i++ {
			spawn(&group, func() { s.work() })
		}
		group.Wait()
		s.fresh.Wait()
		s.settle(before, told)
		return s.sites
	})
}

// settle waits until all have begun, tells them to end, and waits until as
// many have as should.
func (s *starter) settle(before int, told chan struct{}) {
	s.until(func() bool { return s.sum(func(site *startSite) int { return site.Started - site.arrived }) == 0 })
	for _, site := range s.sites {
		if site.creator != 0 {
			site.CreatorPC = site.creator + site.createdAt
		}
	}
	close(told)
	kept := s.sum(func(site *startSite) int { return site.Started - site.Ended })
	s.until(func() bool { return runtime.NumGoroutine() == before+kept })
}

func (s *starter) until(reached func() bool) {
	for !s.l.over() && !reached() {
		time.Sleep(time.Millisecond)
	}
}

func (s *starter) sum(of func(*startSite) int) int {
	sum := 0
	for _, site := range s.sites {
		site.mu.Lock()
		sum += of(site)
		site.mu.Unlock()
	}
	return sum
}

var startSites = []string{
	"arguments", "closure", "plain", "method value", "interface", "shared", "deep", "goexit",
	"timer", "coroutine",
}

//go:noinline
func (s *starter) work() {
	for i := 0; i < s.times; i++ {
		s.arguments(i)
		s.closure()
		s.viaOther(i)
		s.methodValue()
		s.inInterface(s.sites["interface"])
		s.deep(i % 40)
		s.exiting()
		s.timed()
		s.coroutine(i)
		shared(s.sites["shared"], sharedStart)
	}
}

//go:noinline
func (s *starter) arguments(i int) {
	site := s.sites["arguments"]
	site.here()
	go withArguments(site, i, "text")
}

//go:noinline
func withArguments(site *startSite, _ int, _ string) { site.arrive() }

//go:noinline
func (s *starter) closure() {
	site := s.sites["closure"]
	site.here()
	go func() { site.arrive() }()
}

//go:noinline
func (s *starter) viaOther(i int) {
	if i%3 == 0 {
		s.plain()
		return
	}
	s.plain()
}

var plainSite *startSite

//go:noinline
func (s *starter) plain() {
	plainOnce.Do(func() { plainSite = s.sites["plain"] })
	plainSite.here()
	go plainStart()
}

var plainOnce sync.Once

//go:noinline
func plainStart() { plainSite.arrive() }

//go:noinline
func (s *starter) methodValue() {
	site := s.sites["method value"]
	site.here()
	run := site.arriveAsMethod
	go run()
}

//go:noinline
func (s *startSite) arriveAsMethod() { s.arrive() }

//go:noinline
func (s *starter) inInterface(site interface {
	here()
	arriveAsMethod()
}) {
	s.sites["interface"].here()
	go site.arriveAsMethod()
}

//go:noinline
func shared(site *startSite, f func(*startSite)) {
	site.here()
	go f(site)
}

//go:noinline
func sharedStart(site *startSite) { site.arrive() }

// deep starts a goroutine far down a stack that has just grown, and that the
// runtime moves while it grows.
func (s *starter) deep(depth int) {
	s.fresh.Add(1)
	go func() {
		defer s.fresh.Done()
		if depth%2 == 0 {
			s.descend(depth, [200]byte{byte(depth)})
		} else {
			s.shift(depth, [104]byte{byte(depth)})
		}
	}()
}

// shift lets the stack end at another place in the frames of descend.
//
//go:noinline
func (s *starter) shift(depth int, frame [104]byte) int {
	return s.descend(depth, [200]byte{frame[0]}) + int(frame[depth])
}

//go:noinline
func (s *starter) descend(depth int, frame [200]byte) int {
	if depth > 0 {
		frame[depth]++
		return s.descend(depth-1, frame) + int(frame[0])
	}
	site := s.sites["deep"]
	// Before here, so that it is the go statement that makes the stack grow.
	go func() { site.arrive() }()
	site.here()
	return int(frame[1])
}

//go:noinline
func (s *starter) exiting() {
	site := s.sites["goexit"]
	site.here()
	go func() {
		site.arrive()
		runtime.Goexit()
	}()
}

// timed has the runtime start a goroutine, on the scheduler's stack.
//
//go:noinline
func (s *starter) timed() {
	site := s.sites["timer"]
	site.mu.Lock()
	site.Started++
	site.mu.Unlock()
	time.AfterFunc(time.Microsecond, func() { site.arrive() })
}
