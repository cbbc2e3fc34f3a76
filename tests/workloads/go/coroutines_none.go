//go:build !go1.23

package main

// coroutine does nothing: Go has none yet.
func (s *starter) coroutine(int) {}
