// Touches ARGV[1] new anonymous pages every 50 ms, from the moment a line comes in, and says after
// each step how many bytes that makes: exactly this much was asked of the kernel.
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { STEP_NS = 50 * 1000 * 1000, SECOND_NS = 1000 * 1000 * 1000 };

int main(int argc, char **argv) {
    const size_t page = sysconf(_SC_PAGESIZE), pages = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    const size_t size = 1 << 30;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return 1;
    // A huge page would be touched at once.
    madvise(memory, size, MADV_NOHUGEPAGE);
    printf("ready pid=%d\n", (int)getpid());
    fflush(stdout);
    if (getchar() == EOF) return 1;
    puts("started");
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    for (size_t touched = 0; touched + pages * page <= size;) {
        next.tv_nsec += STEP_NS;
        if (next.tv_nsec >= SECOND_NS) next.tv_nsec -= SECOND_NS, next.tv_sec++;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
        for (size_t i = 0; i < pages; i++, touched += page) memory[touched] = 1;
        if (printf("touched %zu\n", touched) < 0 || fflush(stdout) != 0) return 1;
    }
    return 0;
}
