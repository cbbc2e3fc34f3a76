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
//
// // Calls back with a frame pointer that is none, though it points to memory
// // above: to C without frame pointers it is a register like any other.
// static void callBackWild(uintptr_t handle, uintptr_t n) {
// #if defined(__x86_64__)
// 	volatile uintptr_t wild[2] = {0, n};
// 	void (*call)(uintptr_t) = runHandle;
// 	__asm__ volatile(
// 		"movq %%rsp, %%rbx\n\tsubq $256, %%rsp\n\tandq $-16, %%rsp\n\t"
// 		"pushq %%rbp\n\tpushq %%rbp\n\tmovq %2, %%rbp\n\tcall *%1\n\t"
// 		"popq %%rbp\n\tpopq %%rbp\n\tmovq %%rbx, %%rsp"
// 		: "+D"(handle)
// 		: "r"(call), "r"(wild)
// 		: "rax", "rbx", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
// #else
// 	runHandle(handle + 0 * n);
// #endif
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

// CallWild lets C call f while its frame pointer points at n, as if that were
// a return address.
func CallWild(f func(), n int) {
	handle := cgo.NewHandle(f)
	defer handle.Delete()
	C.callBackWild(C.uintptr_t(handle), C.uintptr_t(n))
}

//export runHandle
func runHandle(handle C.uintptr_t) {
	cgo.Handle(handle).Value().(func())()
}
