//go:build !cgo

package main

import "unsafe"

// natives are none: there is no C in this build.
var natives [partsMax]func(int) unsafe.Pointer

func free(unsafe.Pointer) {}
