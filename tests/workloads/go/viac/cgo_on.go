//go:build cgo

// Package viac runs Go code in a callback from C. It is a package of its own
// because a package with C can't have Go assembly, which main has.
package viac

// Frame pointers can be followed through C that keeps them, and only through that.

// #cgo CFLAGS: -O2 -fno-omit-frame-pointer
// #include <stdint.h>
//
// extern void runHandle(uintptr_t);
//
// // Counts, so that the call is no jump and C has a frame of its own.
// static int callBack(uintptr_t handle) {
// 	runHandle(handle);
// 	return 1;
// }
import "C"

import "runtime/cgo"

// Available tells whether this program was built with cgo.
const Available = true

// Call lets C call f.
func Call(f func()) {
	handle := cgo.NewHandle(f)
	defer handle.Delete()
	C.callBack(C.uintptr_t(handle))
}

//export runHandle
func runHandle(handle C.uintptr_t) {
	cgo.Handle(handle).Value().(func())()
}
