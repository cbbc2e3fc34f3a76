package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"
)

// kind says what a part makes; in the file, and in the words of the marks.
type kind uint8

const (
	kindContext kind = iota
	kindTimeout
	kindUnheld
	kindGoroutine
	kindBoth
	kindHeap
	kindNative
	kinds
)

// partsMax is how many lines there are of each kind.
const partsMax = 8

// never is when things are let go that are kept or forgotten.
const never = time.Duration(math.MaxInt64)

// event is one thing that is to be made.
type event struct {
	at, until time.Duration
	part      uint8
	forgotten bool
}

// part is what one line of the program makes.
type part struct {
	kind    kind
	payload int
}

// schedule reads its file piece by piece, so that it is no part of the heap.
// All numbers are little-endian:
//
//	magic "ltplay1\n", count of parts as u64, per part its kind and payload
//	bytes as u64 each; then per event, in the order of time, when it is and
//	until when it is kept as i64 microseconds (the largest: for ever), its
//	part as u8, and 1 as u8 when it is forgotten
type schedule struct {
	input *bufio.Reader
	parts []part
	next  event
	over  bool
}

const eventBytes = 18

func openSchedule(path string) (*schedule, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	s := &schedule{input: bufio.NewReaderSize(file, 64<<10)}
	if err := s.readHead(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s.advance()
	return s, nil
}

func (s *schedule) readHead() error {
	var head [16]byte
	if _, err := io.ReadFull(s.input, head[:]); err != nil {
		return err
	}
	count := binary.LittleEndian.Uint64(head[8:])
	if string(head[:8]) != "ltplay1\n" || count > partsMax {
		return errors.New("no schedule, or too many parts")
	}
	for i := uint64(0); i < count; i++ {
		if _, err := io.ReadFull(s.input, head[:]); err != nil {
			return err
		}
		number, payload := binary.LittleEndian.Uint64(head[:]), binary.LittleEndian.Uint64(head[8:])
		if number >= uint64(kinds) {
			return fmt.Errorf("no kind %d", number)
		}
		s.parts = append(s.parts, part{kind(number), int(payload)})
	}
	return nil
}

// advance reads the next event.
func (s *schedule) advance() {
	var record [eventBytes]byte
	if _, err := io.ReadFull(s.input, record[:]); err != nil {
		if !errors.Is(err, io.EOF) {
			check(err)
		}
		s.over = true
		return
	}
	s.next = event{
		at:        micros(record[0:]),
		until:     micros(record[8:]),
		part:      record[16],
		forgotten: record[17] == 1,
	}
	if int(s.next.part) >= len(s.parts) {
		check(fmt.Errorf("no part %d", s.next.part))
	}
}

func micros(bytes []byte) time.Duration {
	number := int64(binary.LittleEndian.Uint64(bytes))
	if number > math.MaxInt64/1000 {
		return never
	}
	return time.Duration(number) * time.Microsecond
}
