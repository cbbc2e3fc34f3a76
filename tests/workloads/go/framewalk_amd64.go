package main

// returnAddresses fills into with the return addresses on the stack, the one
// of its caller's frame first, and returns how many there are.
//
//go:noescape
func returnAddresses(into []uintptr) int
