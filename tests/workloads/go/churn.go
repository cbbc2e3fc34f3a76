package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// churnRound is the result of one round; pairs counts all goroutines, the time
// is that of one pair in one goroutine.
type churnRound struct {
	Pairs     int     `json:"pairs"`
	NsPerPair float64 `json:"ns_per_pair"`
}

// churn creates and cancels as fast as it can: what does being traced cost?
func churn(args []string) {
	l := newLife("churn")
	goroutines := l.flags.Int("goroutines", 1, "goroutines at work")
	pairs := l.flags.Int("pairs", 200000, "pairs per goroutine and round")
	rounds := l.flags.Int("rounds", 1, "rounds, each printed on a line")
	l.run(args, func() any {
		parents := make([]context.Context, *goroutines)
		for i := range parents {
			parents[i] = newParent(sites{})
		}
		var total churnRound
		var spent time.Duration
		finished := 0
		for ; finished < *rounds && !l.over(); finished++ {
			took := churnOnce(parents, *pairs)
			spent += took
			total.Pairs += *pairs * *goroutines
			printRound(churnRound{*pairs * *goroutines, nsPer(took, *pairs)})
		}
		total.NsPerPair = nsPer(spent, max(1, finished**pairs))
		return total
	})
}

func printRound(round churnRound) {
	if line, err := json.Marshal(round); err == nil {
		fmt.Printf("round %s\n", line)
	}
}

func nsPer(took time.Duration, pairs int) float64 {
	return float64(took.Nanoseconds()) / float64(pairs)
}

func churnOnce(parents []context.Context, pairs int) time.Duration {
	var group sync.WaitGroup
	begin := time.Now()
	for _, parent := range parents {
		parent := parent
		spawn(&group, func() {
			for i := 0; i < pairs; i++ {
				churnPair(parent)
			}
		})
	}
	group.Wait()
	return time.Since(begin)
}

func churnPair(parent context.Context) {
	_, cancel := context.WithCancel(parent) // site: churn
	cancel()
}
