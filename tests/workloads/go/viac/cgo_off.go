//go:build !cgo

// Package viac runs Go code in a callback from C; here there is no C.
package viac

// Available tells whether this program was built with cgo.
const Available = false

// Call does nothing without cgo.
func Call(func()) {}

// CallWild does nothing without cgo.
func CallWild(func(), int) {}
