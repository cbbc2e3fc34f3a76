package main

import (
	"sync"
	"time"
)

// after waits with a new time.After in each round. The goroutine is one; up to
// Go 1.22 its timers stay until they fire.
func (l *leaks) after(counts *leakCounts) {
	var group sync.WaitGroup
	group.Add(1)
	tick := make(chan int)
	go func() { // site: after
		defer group.Done()
		for {
			select {
			case _, open := <-tick:
				if !open {
					return
				}
			case <-time.After(time.Hour):
			}
		}
	}()
	for l.pause(20 * time.Millisecond) {
		tick <- 1
		counts.Started.Add(1)
	}
	close(tick)
	group.Wait()
}

// pool has eight workers; each does 40 jobs and is replaced.
func (l *leaks) pool(counts *leakCounts) {
	var group sync.WaitGroup
	jobs, ended := make(chan int), make(chan int, 8)
	worker := func() {
		defer group.Done()
		for i := 0; i < 40; i++ {
			if _, open := <-jobs; !open {
				return
			}
		}
		ended <- 1
	}
	start := func() {
		group.Add(1)
		counts.Started.Add(1)
		go worker() // site: pool
	}
	for i := 0; i < 8; i++ {
		start()
	}
	for l.pause(5 * time.Millisecond) {
		select {
		case <-ended:
			start()
		case jobs <- 1:
		}
	}
	close(jobs)
	group.Wait()
}

// burst starts many at once, which all drain.
func (l *leaks) burst(counts *leakCounts) {
	var group sync.WaitGroup
	for over := false; !over; over = !l.pause(2500 * time.Millisecond) {
		drain := make(chan struct{})
		for i := 0; i < 300; i++ {
			group.Add(1)
			counts.Started.Add(1)
			go func() { // site: burst
				defer group.Done()
				<-drain
			}()
		}
		l.pause(1500 * time.Millisecond)
		close(drain)
	}
	group.Wait()
}

// warmup fills up to 400 within eight seconds and keeps them.
func (l *leaks) warmup(counts *leakCounts) {
	for i := 0; i < 400 && l.pause(20*time.Millisecond); i++ {
		counts.Started.Add(1)
		go stand(l.stopped) // site: warmup
	}
}

// long has about 200 that live for 40 s each, as if it had always been so.
func (l *leaks) long(counts *leakCounts) {
	const alive, life = 200, 40 * time.Second
	var group sync.WaitGroup
	start := func(life time.Duration) {
		group.Add(1)
		counts.Started.Add(1)
		go func() { // site: long
			defer group.Done()
			l.pause(life)
		}()
	}
	for i := 0; i < alive; i++ {
		start(life * time.Duration(i) / alive)
	}
	for l.pause(life / alive) {
		start(life)
	}
	group.Wait()
}

// churn starts and ends goroutines at a high rate, and forgets one in 1,000 of
// them if it is leaky.
func (l *leaks) churn(counts *leakCounts) {
	var group sync.WaitGroup
	never, begin := make(chan int), time.Now()
	brief := func(forget bool) {
		if forget {
			<-never
		}
		defer group.Done()
		time.Sleep(time.Millisecond)
	}
	for l.pause(5 * time.Millisecond) {
		wanted := int64(time.Since(begin).Seconds() * float64(l.churnRate))
		for counts.Started.Load() < wanted {
			forget := counts.Started.Add(1)%1000 == 0 && l.leaky
			if forget {
				counts.Leaked.Add(1)
			} else {
				group.Add(1)
			}
			go brief(forget) // leak: churn
		}
	}
	group.Wait()
}
