//go:build cgo

package main

// #include <stdlib.h>
// #include <string.h>
// #include <sys/mman.h>
//
// // Takes `count` pieces of `bytes` bytes, all of them touched, and keeps them.
// static int take(size_t count, size_t bytes) {
// 	for (size_t i = 0; i < count; i++) {
// 		void *piece = malloc(bytes);
// 		if (!piece) return 0;
// 		memset(piece, 1, bytes);
// 	}
// 	return 1;
// }
//
// // Maps as C programs do that have an allocator of their own.
// static int map_(size_t bytes) {
// 	void *memory =
// 		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
// 	if (memory == MAP_FAILED) return 0;
// 	memset(memory, 1, bytes);
// 	return 1;
// }
import "C"

// mallocLarge takes pieces that C maps one by one.
func mallocLarge(mib int) { must(C.take(C.size_t(mib), 1<<20)) }

// mallocSmall takes pieces that C cuts out of its heap.
func mallocSmall(mib int) { must(C.take(C.size_t(mib<<10), 1024-16)) }

// mapByC takes memory past malloc.
func mapByC(mib int) { must(C.map_(C.size_t(mib << 20))) }

func must(ok C.int) {
	if ok == 0 {
		panic("no memory")
	}
}
