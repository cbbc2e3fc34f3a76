package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// podSyncStatus is what the workers remember of one pod.
type podSyncStatus struct {
	ctx      context.Context
	cancelFn context.CancelFunc
	syncs    int
}

// podSyncsPerLife is after how many syncs a pod ends, which cancels its newest
// context, and is replaced by another.
const podSyncsPerLife = 12

// podWorkers is the pattern of kubernetes#139823: each sync of a pod makes a
// context and forgets the cancel function of the one before.
type podWorkers struct {
	mu       sync.Mutex
	parent   context.Context
	fixed    bool
	payload  int
	garbage  int
	statuses map[int]*podSyncStatus
	syncs    atomic.Int64
	limit    int64 // 0: no limit

	leaked       atomic.Int64
	podsync, own *site
	child        *site
}

type payloadKey struct{}

// managePodLoop syncs one pod again and again.
func (p *podWorkers) managePodLoop(l *life, pod int, interval time.Duration) {
	l.tick(interval, func() bool {
		if n := p.syncs.Add(1); p.limit > 0 && n > p.limit {
			p.syncs.Add(-1)
			return false
		}
		payload := make([]byte, p.payload)
		p.syncPod(p.startPodSync(pod, payload), payload)
		makeGarbage(p.garbage)
		return true
	})
}

// startPodSync returns the context of the next sync of a pod.
func (p *podWorkers) startPodSync(pod int, payload []byte) (ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	status := p.status(pod)
	p.endOfLife(status)
	if p.fixed {
		if status.ctx == nil || status.ctx.Err() != nil {
			status.ctx, status.cancelFn = context.WithCancel(p.parent) // site: podsync-fixed
			p.own.created.Add(1)
		}
		return status.ctx
	}
	if status.cancelFn != nil {
		p.leaked.Add(1)
	}
	// The payload hangs above the leaked context, so it lives as long.
	base := context.WithValue(p.parent, payloadKey{}, payload)
	ctx, status.cancelFn = context.WithCancel(base) // leak: podsync
	p.podsync.created.Add(1)
	return ctx
}

// endOfLife cancels the newest context of a pod that has ended.
func (p *podWorkers) endOfLife(status *podSyncStatus) {
	status.syncs++
	if status.syncs%podSyncsPerLife != 0 || status.cancelFn == nil {
		return
	}
	status.cancelFn()
	status.cancelFn = nil
	if p.fixed {
		p.own.released.Add(1)
	} else {
		p.podsync.released.Add(1)
	}
}

func (p *podWorkers) status(pod int) *podSyncStatus {
	status := p.statuses[pod]
	if status == nil {
		status = new(podSyncStatus)
		p.statuses[pod] = status
	}
	return status
}

// syncPod does what a sync does: derive, look at Done, cancel.
func (p *podWorkers) syncPod(ctx context.Context, payload []byte) {
	ctx = context.WithValue(ctx, payloadKey{}, payload)
	child, cancel := context.WithTimeout(ctx, 2*time.Second) // site: child
	p.child.created.Add(1)
	defer func() {
		cancel()
		p.child.released.Add(1)
	}()
	select {
	case <-ctx.Done():
	case <-child.Done():
	default:
	}
}

// podsyncTruth is the truth of podsync.
type podsyncTruth struct {
	Mode   string `json:"mode"`
	Syncs  int64  `json:"syncs"`
	Leaked int64  `json:"leaked"` // cancel function forgotten; without each pod's newest
	Sites  sites  `json:"sites"`
}

// podsync leaks one context per sync (-mode leaky), or is the honest twin with
// the same allocation rate (-mode fixed). Honest work runs beside it.
func podsync(args []string) {
	l := newLife("podsync")
	mode := l.flags.String("mode", "leaky", "leaky or fixed")
	pods := l.flags.Int("pods", 10, "number of pods")
	interval := l.flags.Duration("interval", 100*time.Millisecond, "time between syncs of one pod")
	syncs := l.flags.Int64("syncs", 0, "syncs in total over all pods, 0: until the end")
	payload := l.flags.Int("payload", 2048, "bytes that each sync hangs on its context")
	garbage := l.flags.Int("garbage", 64<<10, "bytes of garbage per sync, so that the GC runs")
	l.run(args, func() any {
		if *mode != "leaky" && *mode != "fixed" {
			fail("-mode is leaky or fixed")
		}
		truth := podsyncTruth{Mode: *mode, Sites: sites{}}
		workers := newPodWorkers(newParent(truth.Sites), truth.Sites)
		workers.fixed, workers.limit = *mode == "fixed", *syncs
		workers.payload, workers.garbage = *payload, *garbage
		keep(workers)
		workers.runBesideHonest(l, *pods, *interval, truth.Sites)
		truth.Syncs, truth.Leaked = workers.syncs.Load(), workers.leaked.Load()
		return truth
	})
}

func newPodWorkers(parent context.Context, s sites) *podWorkers {
	return &podWorkers{
		parent:   parent,
		statuses: map[int]*podSyncStatus{},
		podsync:  s.add("podsync"),
		own:      s.add("podsync-fixed"),
		child:    s.add("child"),
	}
}

// runBesideHonest runs all pods with honest work beside them, which ends with
// them: the truth is final when this returns.
func (p *podWorkers) runBesideHonest(l *life, pods int, interval time.Duration, s sites) {
	var syncing, honest sync.WaitGroup
	besides := l.part()
	requests, bursts := s.add("request"), s.add("burst")
	spawn(&honest, func() { requestLoop(besides, p.parent, requests) })
	spawn(&honest, func() {
		burstLoop(besides, p.parent, bursts, 50, 2*time.Second, 500*time.Millisecond)
	})
	for pod := 0; pod < pods; pod++ {
		pod := pod
		spawn(&syncing, func() { p.managePodLoop(l, pod, interval) })
	}
	syncing.Wait()
	besides.stop()
	honest.Wait()
}

func spawn(group *sync.WaitGroup, f func()) {
	group.Add(1)
	go func() {
		defer group.Done()
		f()
	}()
}
