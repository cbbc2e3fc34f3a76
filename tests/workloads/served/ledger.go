package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// pageBytes is a step that touches every page of every processor.
const pageBytes = 4096

// ledger takes memory of one kind per command, "KIND MIB", and answers with
// what the runtime says about all of it afterwards. Nothing is collected or
// given back unless a command says so.
type ledger struct {
	kept  []any
	other []byte
	files [][]byte
	block chan struct{}
}

// node is a small object of a list, with room for what some versions put in
// front of objects with pointers.
type node struct {
	next *node
	data [1008]byte
}

func init() { parts["ledger"] = &ledger{} }

func (l *ledger) setUp([]string) {
	debug.SetGCPercent(-1)
	l.block = make(chan struct{})
}

func (l *ledger) command(line string) any {
	kind, amount, _ := strings.Cut(line, " ")
	mib, _ := strconv.Atoi(amount) // 0 for commands without an amount
	switch kind {
	case "live":
		l.kept = append(l.kept, list(mib/2), chunks(mib-mib/2))
	case "garbage":
		l.other = nil
		runtime.KeepAlive(list(mib / 2))
		runtime.KeepAlive(chunks(mib - mib/2))
	case "spike":
		runtime.KeepAlive(chunks(mib))
		// One more, and the scavenger would give back what this one frees.
		runtime.GC()
	case "free":
		debug.FreeOSMemory()
	case "goroutines":
		l.goroutines(mib)
	case "untouched":
		l.fill()
		l.kept = append(l.kept, make([]byte, mib<<20))
	case "pointers":
		l.fill()
		l.kept = append(l.kept, make([]*node, mib<<20/8))
		runtime.GC() // reads all of it
	case "file":
		l.file(mib)
	case "malloc":
		mallocLarge(mib)
	case "mallocsmall":
		mallocSmall(mib)
	case "map":
		mapByC(mib)
	}
	var truth runtime.MemStats
	runtime.ReadMemStats(&truth)
	runtime.KeepAlive(l.kept)
	return truth
}

// fill takes 4 MiB, more than any free pages that were in use before: behind
// it all is fresh, and the runtime has no reason to write zeros there.
func (l *ledger) fill() {
	filler := make([]byte, 4<<20)
	touch(filler)
	l.kept = append(l.kept, filler)
}

// list makes small objects of mib MiB.
//
//go:noinline
func list(mib int) *node {
	var head *node
	for i := 0; i < mib<<10; i++ {
		head = &node{next: head}
		head.data[0] = 1
	}
	return head
}

// chunks makes objects of 256 KiB.
//
//go:noinline
func chunks(mib int) [][]byte {
	var all [][]byte
	for i := 0; i < mib*4; i++ {
		chunk := make([]byte, 256<<10)
		touch(chunk)
		all = append(all, chunk)
	}
	return all
}

func touch(bytes []byte) {
	for i := 0; i < len(bytes); i += pageBytes {
		bytes[i] = 1
	}
}

// goroutines starts n that use 5 KiB of stack and then wait.
func (l *ledger) goroutines(n int) {
	var ready sync.WaitGroup
	for i := 0; i < n; i++ {
		ready.Add(1)
		go func() { wait(&ready, l.block) }()
	}
	ready.Wait()
}

//go:noinline
func wait(ready *sync.WaitGroup, block chan struct{}) byte {
	var used [5000]byte
	for i := range used {
		used[i] = byte(i)
	}
	ready.Done()
	<-block
	return used[len(used)/2]
}

// file maps a file of mib MiB and reads all of it.
func (l *ledger) file(mib int) {
	file, err := os.CreateTemp("", "leaktrace-ledger-")
	check(err)
	defer file.Close()
	defer os.Remove(file.Name())
	_, err = file.Write(make([]byte, mib<<20))
	check(err)
	bytes, err := syscall.Mmap(int(file.Fd()), 0, mib<<20, syscall.PROT_READ, syscall.MAP_SHARED)
	check(err)
	sum := byte(0)
	for i := 0; i < len(bytes); i += pageBytes {
		sum += bytes[i]
	}
	l.files = append(l.files, bytes)
	l.kept = append(l.kept, sum)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
