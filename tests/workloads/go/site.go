package main

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
)

// site counts the contexts made and released at one marked line.
type site struct {
	created, released atomic.Int64
}

// counts is how a site appears in the truth.
type counts struct {
	Created     int64 `json:"created"`
	Released    int64 `json:"released"`
	Outstanding int64 `json:"outstanding"`
}

func (s *site) counts() counts {
	created, released := s.created.Load(), s.released.Load()
	return counts{created, released, created - released}
}

// MarshalJSON writes the counts.
func (s *site) MarshalJSON() ([]byte, error) {
	return json.Marshal(s.counts())
}

// sites is the usual truth: counts by the name of the marked line.
type sites map[string]*site

func (s sites) add(name string) *site {
	added := new(site)
	s[name] = added
	return added
}

// kept holds what has to stay reachable for the whole life of the process.
var kept struct {
	sync.Mutex
	values []any
}

func keep(value any) {
	kept.Lock()
	kept.values = append(kept.values, value)
	kept.Unlock()
}

// newParent makes the long-lived, cancellable parent that contexts are
// derived from. It is never cancelled.
func newParent(s sites) context.Context {
	parent, cancel := context.WithCancel(context.Background()) // site: parent
	s.add("parent").created.Add(1)
	keep(parent)
	keep(cancel)
	return parent
}
