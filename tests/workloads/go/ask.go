package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	_ "unsafe" // for go:linkname
)

// answer is one logical frame with what distinguishes it from a name and a
// line alone. Inlined: it has no code of its own, the next frame's has it.
type answer struct {
	PC uintptr `json:"pc"`
	frame
	StartLine int64 `json:"start_line"`
	Inlined   bool  `json:"inlined"`
}

// askedTruth is the first line of what callers -stdin prints.
type askedTruth struct {
	Main uintptr `json:"main"`
}

// expandInlined replaces the last return address by one for each call that was
// inlined there, innermost first, which runtime.CallersFrames no longer does
// since Go 1.21. It is what runtime/pprof uses for its samples.
//
//go:linkname expandInlined runtime/pprof.runtime_expandFinalInlineFrame
func expandInlined(stack []uintptr) []uintptr

// answerQuestions reads return addresses from stdin, one per line, and prints
// the frames of each, innermost first, as one line of JSON.
func answerQuestions() error {
	output := bufio.NewWriterSize(os.Stdout, 1<<16)
	answers := json.NewEncoder(output)
	if err := answers.Encode(askedTruth{reflect.ValueOf(main).Pointer()}); err != nil {
		return err
	}
	// Who asks needs this before the first question.
	if err := output.Flush(); err != nil {
		return err
	}
	questions := bufio.NewScanner(os.Stdin)
	for questions.Scan() {
		pc, err := strconv.ParseUint(strings.TrimSpace(questions.Text()), 0, 64)
		if err != nil {
			return fmt.Errorf("not an address: %w", err)
		}
		if err := answers.Encode(allFrames(uintptr(pc))); err != nil {
			return err
		}
	}
	if err := questions.Err(); err != nil {
		return err
	}
	return output.Flush()
}

// allFrames returns what the runtime says about one return address.
func allFrames(pc uintptr) []answer {
	var answers []answer
	for _, logical := range expandInlined([]uintptr{pc}) {
		found, _ := runtime.CallersFrames([]uintptr{logical}).Next()
		answers = append(answers, answer{
			PC:        logical,
			frame:     frame{found.Function, found.File, found.Line},
			StartLine: reflect.ValueOf(found).FieldByName("startLine").Int(),
			Inlined:   found.Func == nil,
		})
	}
	return answers
}
