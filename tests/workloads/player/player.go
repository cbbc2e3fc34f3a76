package main

import (
	"container/heap"
	"context"
	"os"
	"sync"
	"syscall"
	"time"
)

// The dispatcher sleeps at least as long, so that it costs little when much is
// to be done, and at most as long, so that garbage is made evenly.
const (
	sleepMin = 2 * time.Millisecond
	sleepMax = 10 * time.Millisecond
)

// garbageBytes is the size of one piece of garbage.
const garbageBytes = 16 << 10

// player is one dispatcher, which has no goroutines or contexts of its own but
// the parent of all contexts, which is never cancelled.
type player struct {
	sync.Mutex
	schedule      *schedule
	warm          time.Duration
	garbagePerS   float64
	garbageMade   float64
	parent        context.Context
	cancelParent  context.CancelFunc
	open          releases
	counts        []counts
	zero          time.Time
	late          time.Duration
	heap          map[uint64][]byte
	heapNext      uint64
	latestGarbage []byte
}

// counts is what was done for one part so far. What was let go before the
// warm-up began was never made.
type counts struct {
	Created   uint64 `json:"created"`
	Released  uint64 `json:"released"`
	Forgotten uint64 `json:"forgotten"`
}

// truth is all of it, and at what time.
type truth struct {
	AtS      float64  `json:"at_s"`
	LateMaxS float64  `json:"late_max_s"`
	CPUS     float64  `json:"cpu_s"`
	Parts    []counts `json:"parts"`
}

// release is a thing that is to be let go.
type release struct {
	until time.Duration
	part  uint8
	letGo func()
}

// releases has the next one first.
type releases []release

func (r releases) Len() int           { return len(r) }
func (r releases) Less(i, j int) bool { return r[i].until < r[j].until }
func (r releases) Swap(i, j int)      { r[i], r[j] = r[j], r[i] }
func (r *releases) Push(one any)      { *r = append(*r, one.(release)) }

func (r *releases) Pop() any {
	last := len(*r) - 1
	one := (*r)[last]
	// What was let go must not stay reachable from here.
	(*r)[last] = release{}
	*r = (*r)[:last]
	return one
}

func newPlayer(schedule *schedule, warm time.Duration, garbageMiBPerS float64) *player {
	parent, cancel := context.WithCancel(context.Background()) // site: parent
	return &player{
		schedule:     schedule,
		warm:         warm,
		garbagePerS:  garbageMiBPerS * (1 << 20),
		parent:       parent,
		cancelParent: cancel,
		counts:       make([]counts, len(schedule.parts)),
		heap:         map[uint64][]byte{},
	}
}

// play carries out the schedule until the process ends.
func (p *player) play(warmed chan struct{}, ends time.Duration) {
	p.Lock()
	p.catchUp()
	p.zero = time.Now().Add(p.warm)
	for {
		now := time.Since(p.zero)
		p.step(now)
		p.Unlock()
		if warmed != nil && now >= 0 {
			close(warmed)
			warmed = nil
		}
		if now >= ends {
			answer("end", p.truth())
			os.Exit(0)
		}
		time.Sleep(min(max(p.until()-time.Since(p.zero), sleepMin), sleepMax))
		p.Lock()
	}
}

// catchUp makes at once what began before the warm-up and lives beyond it.
func (p *player) catchUp() {
	for !p.schedule.over && p.schedule.next.at < -p.warm {
		if p.schedule.next.until > -p.warm {
			p.make(p.schedule.next)
		}
		p.schedule.advance()
	}
}

// step makes and lets go, in the order of time, what is due.
func (p *player) step(now time.Duration) {
	for due := p.until(); due <= now; due = p.until() {
		if due >= 0 {
			p.late = max(p.late, now-due)
		}
		if len(p.open) > 0 && p.open[0].until == due {
			one := heap.Pop(&p.open).(release)
			one.letGo()
			p.counts[one.part].Released++
			continue
		}
		p.make(p.schedule.next)
		p.schedule.advance()
	}
	p.litter(now)
}

// until is when something is to be done next. Only the dispatcher changes it.
func (p *player) until() time.Duration {
	next := never
	if !p.schedule.over {
		next = p.schedule.next.at
	}
	if len(p.open) > 0 {
		next = min(next, p.open[0].until)
	}
	return next
}

// make makes one thing, and keeps what lets it go only when that is to be done.
func (p *player) make(event event) {
	count := &p.counts[event.part]
	count.Created++
	letGo := p.makeOne(event.part)
	if event.until < never {
		heap.Push(&p.open, release{event.until, event.part, letGo})
	} else if event.forgotten {
		count.Forgotten++
	} else {
		heap.Push(&p.open, release{never, event.part, letGo})
	}
}

// litter makes garbage, as every program does: else nothing would be collected.
func (p *player) litter(now time.Duration) {
	for due := (now + p.warm).Seconds() * p.garbagePerS; p.garbageMade < due; {
		p.latestGarbage = make([]byte, garbageBytes)
		p.garbageMade += garbageBytes
	}
}

func (p *player) truth() truth {
	p.Lock()
	defer p.Unlock()
	now := time.Since(p.zero)
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return truth{
		AtS: now.Seconds(),
		// What is due and not done yet is late too.
		LateMaxS: max(p.late, now-p.until()).Seconds(),
		CPUS:     time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds(),
		Parts:    append([]counts{}, p.counts...),
	}
}
