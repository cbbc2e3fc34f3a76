/*
 * Grows in every way a native process can, on command, and says how much of what it did.
 *
 * `ready` at the start; then per line `NAME BYTES` one `ok map=N unmap=N discard=N pages=N`: bytes
 * mapped, unmapped and given back by madvise, and pages touched for the first time. What is done
 * for a command is done in the function that has its name.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL
#define PIECE (16 * PAGE)
#define NOINLINE __attribute__((noinline, noclone))
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

struct done {
	unsigned long map, unmap, discard, pages;
};

/* The range that unmap, remap, shrink and discard work on. */
static char *range;
static unsigned long range_bytes;
static char *reservation, *reservation_next;

static void *checked(void *mapped)
{
	if (mapped == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return mapped;
}

/* Inlined, so that the fault is the caller's. */
static inline __attribute__((always_inline)) unsigned long touch(char *from, unsigned long bytes)
{
	for (unsigned long at = 0; at < bytes; at += PAGE)
		*(volatile char *)(from + at) = 1;
	return bytes / PAGE;
}

NOINLINE struct done map_anon(unsigned long bytes)
{
	range = checked(mmap(NULL, bytes, RW, ANON, -1, 0));
	range_bytes = bytes;
	return (struct done){.map = bytes};
}

NOINLINE struct done grow_anon(unsigned long bytes)
{
	range = checked(mmap(NULL, bytes, RW, ANON, -1, 0));
	range_bytes = bytes;
	return (struct done){.map = bytes, .pages = touch(range, bytes)};
}

NOINLINE struct done map_shared(unsigned long bytes)
{
	range = checked(mmap(NULL, bytes, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	range_bytes = bytes;
	return (struct done){.map = bytes};
}

NOINLINE struct done reserve(unsigned long bytes)
{
	range = checked(mmap(NULL, bytes, PROT_NONE, ANON | MAP_NORESERVE, -1, 0));
	range_bytes = bytes;
	return (struct done){.map = bytes};
}

/* As the Go runtime makes use of what it has reserved. */
NOINLINE struct done commit(unsigned long bytes)
{
	checked(mmap(range, bytes, RW, ANON | MAP_FIXED, -1, 0));
	return (struct done){.map = bytes};
}

NOINLINE struct done unmap(unsigned long bytes)
{
	if (munmap(range, bytes))
		perror("munmap");
	range += bytes;
	range_bytes -= bytes;
	return (struct done){.unmap = bytes};
}

/* Past mremap, which has a frame but no frame pointer, and hides its caller. */
NOINLINE struct done remap(unsigned long bytes)
{
	range = checked((void *)syscall(SYS_mremap, range, range_bytes, range_bytes + bytes,
					MREMAP_MAYMOVE));
	range_bytes += bytes;
	return (struct done){.map = bytes};
}

NOINLINE struct done shrink(unsigned long bytes)
{
	range = checked((void *)syscall(SYS_mremap, range, range_bytes, range_bytes - bytes, 0));
	range_bytes -= bytes;
	return (struct done){.unmap = bytes};
}

NOINLINE struct done discard(unsigned long bytes)
{
	if (madvise(range, bytes, MADV_DONTNEED))
		perror("madvise");
	return (struct done){.discard = bytes};
}

/* Past sbrk, which has no frame pointer and loses the caller's. Thus malloc must not be asked for
 * more in a process that is told this. */
NOINLINE struct done grow_brk(unsigned long bytes)
{
	char *old = (char *)syscall(SYS_brk, 0);
	syscall(SYS_brk, old + bytes);
	return (struct done){.map = bytes, .pages = touch(old, bytes)};
}

NOINLINE struct done shrink_brk(unsigned long bytes)
{
	syscall(SYS_brk, (char *)syscall(SYS_brk, 0) - bytes);
	return (struct done){.unmap = bytes};
}

/* Touches more of what was mapped before anybody looked. */
NOINLINE struct done touch_reservation(unsigned long bytes)
{
	unsigned long pages = touch(reservation_next, bytes);
	reservation_next += bytes;
	return (struct done){.pages = pages};
}

/* The kernel touches it, in read(2). */
NOINLINE struct done read_into(unsigned long bytes)
{
	int zero = open("/dev/zero", O_RDONLY);
	if (read(zero, reservation_next, bytes) != (long)bytes)
		perror("read");
	close(zero);
	reservation_next += bytes;
	return (struct done){.pages = bytes / PAGE};
}

static int file_of(unsigned long bytes)
{
	int file = memfd_create("grow", 0);
	if (file < 0 || ftruncate(file, (long)bytes))
		perror("memfd");
	return file;
}

NOINLINE struct done file_private(unsigned long bytes)
{
	int file = file_of(bytes);
	range = checked(mmap(NULL, bytes, RW, MAP_PRIVATE, file, 0));
	range_bytes = bytes;
	close(file);
	return (struct done){.map = bytes};
}

NOINLINE struct done file_shared(unsigned long bytes)
{
	int file = file_of(bytes);
	range = checked(mmap(NULL, bytes, RW, MAP_SHARED, file, 0));
	range_bytes = bytes;
	close(file);
	return (struct done){.map = bytes};
}

NOINLINE struct done spike(unsigned long bytes)
{
	char *at = checked(mmap(NULL, bytes, RW, ANON, -1, 0));
	unsigned long pages = touch(at, bytes);
	if (munmap(at, bytes))
		perror("munmap");
	return (struct done){.map = bytes, .unmap = bytes, .pages = pages};
}

/* By malloc, in pieces below its threshold for mmap. It writes into the page behind each piece itself,
 * where the next one will begin. */
NOINLINE struct done leak_malloc(unsigned long bytes)
{
	for (unsigned long made = 0; made < bytes; made += PIECE)
		touch(malloc(PIECE), PIECE);
	return (struct done){.pages = bytes / PAGE};
}

/* Its honest twin. */
NOINLINE struct done honest_malloc(unsigned long bytes)
{
	for (unsigned long made = 0; made < bytes; made += PIECE) {
		char *piece = malloc(PIECE);
		touch(piece, PIECE);
		free(piece);
	}
	return (struct done){0};
}

/* Threads that wait for work, and what they are given. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned long given, answered;

NOINLINE void touch_in_thread(unsigned long bytes)
{
	char *at = checked(mmap(NULL, bytes, RW, ANON, -1, 0));
	touch(at, bytes);
}

static void *thread(void *unused)
{
	pthread_mutex_lock(&lock);
	while (!given)
		pthread_cond_wait(&changed, &lock);
	touch_in_thread(given);
	given = 0;
	answered = 1;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	/* Each works once, and stays. */
	pause();
	return unused;
}

/* One more thread with a stack of so many bytes. */
NOINLINE struct done start_thread(unsigned long bytes)
{
	pthread_t id;
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, bytes);
	if (pthread_create(&id, &attributes, thread, NULL))
		perror("pthread_create");
	return (struct done){0};
}

/* A thread that has not worked yet does. */
NOINLINE struct done in_thread(unsigned long bytes)
{
	pthread_mutex_lock(&lock);
	given = bytes;
	answered = 0;
	pthread_cond_signal(&changed);
	while (!answered)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
	return (struct done){.map = bytes, .pages = bytes / PAGE};
}

/* A child does, which is not the target. */
NOINLINE struct done in_child(unsigned long bytes)
{
	pid_t child = fork();
	if (child == 0) {
		touch(checked(mmap(NULL, bytes, RW, ANON, -1, 0)), bytes);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	return (struct done){0};
}

/* Time of the thread, kernel included: others that want the CPU are not in it. */
static double cpu_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static unsigned long work;

static void compute(unsigned long rounds)
{
	for (unsigned long i = 0; i < rounds; i++)
		work = work * 6364136223846793005UL + 1442695040888963407UL;
}

/* For the benchmark: `pairs` of mmap and munmap with ten faults each, and as much computing in
 * between as `rounds` say. */
NOINLINE struct done churn(unsigned long pairs, unsigned long rounds)
{
	for (unsigned long i = 0; i < pairs; i++) {
		char *at = checked(mmap(NULL, 10 * PAGE, RW, ANON, -1, 0));
		touch(at, 10 * PAGE);
		munmap(at, 10 * PAGE);
		compute(rounds);
	}
	return (struct done){.map = pairs * 10 * PAGE, .unmap = pairs * 10 * PAGE, .pages = pairs * 10};
}

/* For the benchmark: system calls that nobody traces, with computing in between. */
NOINLINE struct done ask(unsigned long calls, unsigned long rounds)
{
	for (unsigned long i = 0; i < calls; i++) {
		syscall(SYS_getppid);
		compute(rounds);
	}
	return (struct done){0};
}

static const struct {
	const char *name;
	struct done (*run)(unsigned long bytes);
} commands[] = {
	{"map_anon", map_anon}, {"grow_anon", grow_anon}, {"map_shared", map_shared},
	{"reserve", reserve}, {"commit", commit}, {"unmap", unmap}, {"remap", remap},
	{"shrink", shrink}, {"discard", discard}, {"grow_brk", grow_brk},
	{"shrink_brk", shrink_brk}, {"touch_reservation", touch_reservation},
	{"read_into", read_into}, {"file_private", file_private}, {"file_shared", file_shared},
	{"spike", spike}, {"leak_malloc", leak_malloc}, {"honest_malloc", honest_malloc},
	{"start_thread", start_thread}, {"in_thread", in_thread}, {"in_child", in_child},
};

static struct done run(const char *name, unsigned long bytes, unsigned long more)
{
	if (!strcmp(name, "churn"))
		return churn(bytes, more);
	if (!strcmp(name, "ask"))
		return ask(bytes, more);
	for (unsigned i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(name, commands[i].name))
			return commands[i].run(bytes);
	fprintf(stderr, "no command %s\n", name);
	exit(2);
}

int main(void)
{
	/* Buffers that stdio would allocate while somebody counts. */
	static char in[4096], out[4096];
	char name[64];
	unsigned long bytes, more;

	setvbuf(stdin, in, _IOFBF, sizeof(in));
	setvbuf(stdout, out, _IOLBF, sizeof(out));
	/* A fault is a page, and a page a fault. */
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	reservation = checked(mmap(NULL, 1UL << 30, RW, ANON | MAP_NORESERVE, -1, 0));
	reservation_next = reservation;
	puts("ready");
	while (more = 0, scanf("%63s %lu/%lu", name, &bytes, &more) >= 2) {
		double start = cpu_ns();
		struct done done = run(name, bytes, more);
		double took = cpu_ns() - start;
		printf("ok map=%lu unmap=%lu discard=%lu pages=%lu ns=%.0f\n", done.map, done.unmap,
		       done.discard, done.pages, took);
	}
	return 0;
}
