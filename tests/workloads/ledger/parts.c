/* Takes memory of one kind per line of its input, "KIND MIB" (for
 * "maps" and "fds" a number), and answers "ok" when all of it has
 * been touched; the process ends with its input. Nothing is ever given back. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
/* A step that touches every page of every processor. */
#define PAGE 4096

/* Touched by "data" and "bss". */
static char data[16 * MIB] = {1};
static char bss[16 * MIB];

static void fail(const char *what) {
	perror(what);
	exit(1);
}

static void touch(char *memory, size_t bytes) {
	for (size_t at = 0; at < bytes; at += PAGE) {
		((volatile char *)memory)[at] = 1;
	}
}

static char *map(size_t bytes, int flags, int fd) {
	char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
	if (memory == MAP_FAILED) fail("mmap");
	return memory;
}

static char *new_file(int fd, size_t bytes) {
	if (fd < 0 || ftruncate(fd, (off_t)bytes)) fail("file");
	return map(bytes, MAP_SHARED, fd);
}

static char *system_v(size_t bytes) {
	int id = shmget(IPC_PRIVATE, bytes, 0600);
	char *memory = id < 0 ? (char *)-1 : shmat(id, NULL, 0);
	if (memory == (char *)-1) fail("shm");
	shmctl(id, IPC_RMID, NULL); /* it ends with the process */
	return memory;
}

static _Atomic pid_t waiting;

static void *use_stack(void *bytes) {
	char memory[(size_t)bytes];
	touch(memory, (size_t)bytes);
	waiting = (pid_t)syscall(SYS_gettid);
	pause();
	return memory[0] ? NULL : bytes;
}

/* Whether the kernel has seen thread `tid` come to rest. */
static int rests(pid_t tid) {
	char path[64], word[16] = "running";
	snprintf(path, sizeof path, "/proc/self/task/%d/syscall", tid);
	FILE *file = fopen(path, "r");
	if (!file || fscanf(file, "%15s", word) != 1) fail(path);
	fclose(file);
	return strcmp(word, "running") != 0;
}

static void thread(size_t bytes, int guarded) {
	pthread_attr_t attributes;
	pthread_t thread;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, bytes + MIB);
	if (!guarded) pthread_attr_setguardsize(&attributes, 0);
	waiting = 0;
	if (pthread_create(&thread, &attributes, use_stack, (void *)bytes)) fail("pthread_create");
	while (!waiting || !rests(waiting)) sched_yield();
}

static void file(size_t bytes) {
	char name[] = "/var/tmp/leaktrace-parts-XXXXXX";
	int fd = mkstemp(name);
	touch(new_file(fd, bytes), bytes);
	unlink(name);
}

static void descriptors(size_t count) {
	for (size_t i = 0; i < count; i++) {
		int pair[2];
		if (eventfd(0, 0) < 0 || pipe(pair) || socket(AF_UNIX, SOCK_STREAM, 0) < 0) fail("fd");
	}
}

/* Pages of which no two neighbours may be joined to one mapping. */
static void pages(size_t count) {
	for (size_t i = 0; i < count; i++) {
		char *page = map(PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
		*page = 1;
		if (i % 2 && mprotect(page, PAGE, PROT_READ)) fail("mprotect");
	}
}

static void obey(const char *kind, size_t mib) {
	size_t bytes = mib * MIB;
	if (!strcmp(kind, "brk")) touch(sbrk((intptr_t)bytes), bytes);
	if (!strcmp(kind, "anon")) touch(map(bytes, MAP_PRIVATE | MAP_ANONYMOUS, -1), bytes);
	if (!strcmp(kind, "untouched")) map(bytes, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	if (!strcmp(kind, "shared")) touch(map(bytes, MAP_SHARED | MAP_ANONYMOUS, -1), bytes);
	if (!strcmp(kind, "memfd")) touch(new_file(memfd_create("parts", 0), bytes), bytes);
	if (!strcmp(kind, "sysv")) touch(system_v(bytes), bytes);
	if (!strcmp(kind, "file")) file(bytes);
	if (!strcmp(kind, "thread")) thread(bytes, 1);
	if (!strcmp(kind, "bare")) thread(bytes, 0);
	if (!strcmp(kind, "data")) touch(data, sizeof data);
	if (!strcmp(kind, "bss")) touch(bss, sizeof bss);
	if (!strcmp(kind, "maps")) pages(mib);
	if (!strcmp(kind, "fds")) descriptors(mib);
}

int main(void) {
	char kind[32];
	size_t mib;
	printf("ready pid=%d\n", getpid());
	fflush(stdout);
	while (scanf("%31s %zu", kind, &mib) == 2) {
		obey(kind, mib);
		puts("ok");
		fflush(stdout);
	}
	return 0;
}
