// Package prober is as much of the kubelet's probers as their goroutines:
// one worker per probe, which ends when it is stopped.
package prober

import "time"

type worker struct{ stopCh chan struct{} }

// Manager has a worker for each probe that was added.
type Manager struct{ workers []*worker }

// AddPod starts the worker of a pod's probe.
func (m *Manager) AddPod() {
	w := &worker{make(chan struct{})}
	m.workers = append(m.workers, w)
	go w.run() // leak: prober
}

// RemovePod forgets the oldest worker, and stops it unless it leaks.
func (m *Manager) RemovePod(leak bool) {
	w := m.workers[0]
	m.workers = m.workers[1:]
	if !leak {
		close(w.stopCh)
	}
}

func (w *worker) run() {
	ticker := time.NewTicker(time.Hour)
	defer ticker.Stop()
	for w.doProbe(ticker) {
	}
}

func (w *worker) doProbe(ticker *time.Ticker) bool {
	select {
	case <-w.stopCh:
		return false
	case <-ticker.C:
		return true
	}
}
