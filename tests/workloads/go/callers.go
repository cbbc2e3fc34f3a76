package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// frame is one logical frame as the runtime names it: type arguments appear
// as [...] in function.
type frame struct {
	Function string `json:"function"`
	File     string `json:"file"`
	Line     int    `json:"line"`
}

// entry is one address, read as a return address, and its innermost frame.
// Since Go 1.21 the runtime expands no inlined calls for a single address.
type entry struct {
	PC     uintptr `json:"pc"`
	Frames []frame `json:"frames"`
}

// callersTruth is the truth of callers; main tells where a PIE was loaded.
type callersTruth struct {
	Main    uintptr `json:"main"`
	Entries []entry `json:"entries"`
	Stacks  []stack `json:"stacks"`
}

// callers prints what the runtime itself says about many addresses and some
// stacks, as one JSON object, and exits: the oracle for symbolization. With
// -stdin the addresses are those that are asked for, see answerQuestions.
func callers(args []string) {
	flags := flag.NewFlagSet("callers", flag.ExitOnError)
	functions := flags.Int("functions", 2000, "functions to sample")
	each := flags.Int("each", 12, "addresses per function, at most")
	asked := flags.Bool("stdin", false, "answer for the return addresses on stdin, one per line")
	_ = flags.Parse(args) // ExitOnError
	if *asked {
		check(answerQuestions())
		return
	}
	truth := callersTruth{Main: reflect.ValueOf(main).Pointer(), Stacks: sampleStacks()}
	for _, function := range someFunctions(*functions) {
		truth.Entries = append(truth.Entries, sampleFunction(function, *each)...)
	}
	check(json.NewEncoder(os.Stdout).Encode(truth))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "workload: can't write the callers:", err)
		os.Exit(1)
	}
}

// someFunctions returns up to limit entry points: known functions, and those
// that follow them in the text.
func someFunctions(limit int) []uintptr {
	seeds := []any{
		main, fmt.Sprintf, strings.Replace, context.WithCancel, context.WithTimeout, json.Marshal,
		os.Stat, sort.Slice, time.Now, strconv.Quote, regexp.MustCompile, bytes.Equal,
		reflect.DeepEqual, runtime.GC, runtime.Callers, flag.NewFlagSet, tabwriter.NewWriter,
		(*podWorkers).startPodSync, newLife, sampleStacks,
	}
	seen := map[uintptr]bool{}
	var found []uintptr
	for _, seed := range seeds {
		pc := reflect.ValueOf(seed).Pointer()
		for n := 0; n < limit/len(seeds); pc += 16 {
			function := runtime.FuncForPC(pc)
			if function == nil {
				break
			}
			if start := function.Entry(); !seen[start] {
				seen[start] = true
				found = append(found, start)
				n++
			}
		}
	}
	return found
}

func sampleFunction(start uintptr, each int) []entry {
	var entries []entry
	for pc := start + 1; pc < start+600 && len(entries) < each; pc += 7 {
		if function := runtime.FuncForPC(pc); function == nil || function.Entry() != start {
			break
		}
		entries = append(entries, entry{pc, frames([]uintptr{pc})})
	}
	return entries
}

func frames(pcs []uintptr) []frame {
	var result []frame
	for iterator, more := runtime.CallersFrames(pcs), true; more; {
		var next runtime.Frame
		next, more = iterator.Next()
		result = append(result, frame{next.Function, next.File, next.Line})
	}
	return result
}
