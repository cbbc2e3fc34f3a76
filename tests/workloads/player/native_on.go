//go:build cgo

package main

// #include <stdlib.h>
// #include <string.h>
//
// // Gives memory that was written to.
// static void *take(size_t bytes) {
// 	void *piece = malloc(bytes);
// 	return piece ? memset(piece, 1, bytes) : NULL;
// }
import "C"

import "unsafe"

// natives are bytes of C's heap.
var natives = [partsMax]func(int) unsafe.Pointer{
	func(bytes int) unsafe.Pointer { return C.take(C.size_t(bytes)) }, // site: native 0
	func(bytes int) unsafe.Pointer { return C.take(C.size_t(bytes)) }, // site: native 1
	func(bytes int) unsafe.Pointer { return C.take(C.size_t(bytes)) }, // site: native 2
	func(bytes int) unsafe.Pointer { return C.take(C.size_t(bytes)) }, // site: native 3
	func(bytes int) unsafe.Pointer { return C.take(C.size_t(bytes)) }, // site: native 4
	func(bytes int) unsafe.Pointer { return C.take(C.size_t(bytes)) }, // site: native 5
	func(bytes int) unsafe.Pointer { return C.take(C.size_t(bytes)) }, // site: native 6
	func(bytes int) unsafe.Pointer { return C.take(C.size_t(bytes)) }, // site: native 7
}

func free(piece unsafe.Pointer) { C.free(piece) }
