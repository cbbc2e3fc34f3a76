// Package manager is as much of cadvisor's as the housekeeping of a container.
package manager

import "time"

type containerData struct{ stop chan struct{} }

// StartContainer starts what looks after a container until it is stopped.
func StartContainer() {
	cd := &containerData{make(chan struct{})}
	cd.start()
}

func (cd *containerData) start() {
	go cd.housekeeping()
}

func (cd *containerData) housekeeping() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for cd.housekeepingTick(timer.C) {
	}
}

func (cd *containerData) housekeepingTick(timer <-chan time.Time) bool {
	select {
	case <-cd.stop:
		return false
	case <-timer:
		return true
	}
}
