/* What one frame of a stack costs: malloc and its free at the bottom of a recursion, in which each
 * level is one of two calls. Which ones is told by the bits of the path's number, the lowest next to
 * the root, behind SHARED levels that are the same in all: two paths that are called one after the
 * other differ from there on.
 *
 * usage: frames PATHS SHARED LEVELS CALLS    prints nanoseconds a call, pair and recursion included
 *
 * Paths are taken in turn. With as many calls as paths each stack is new; with more, all are known
 * before the clock starts. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BLOCK_BYTES = 64 };

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return 1e9 * (double)now.tv_sec + (double)now.tv_nsec;
}

__attribute__((noinline)) static void descend(unsigned long path, int levels)
{
    if (levels == 0) {
        char *volatile block = malloc(BLOCK_BYTES);
        *(volatile char *)block = 1;
        free(block);
    } else if (path & 1) {
        descend(path >> 1, levels - 1);
        __asm__ volatile("nop"); /* neither a jump nor the same call as the other */
    } else {
        descend(path >> 1, levels - 1);
        __asm__ volatile("nop; nop");
    }
}

int main(int count, char **arguments)
{
    long paths = count > 1 ? atol(arguments[1]) : 0;
    int shared = count > 2 ? atoi(arguments[2]) : -1;
    int levels = count > 3 ? atoi(arguments[3]) : 0;
    long calls = count > 4 ? atol(arguments[4]) : 0;
    if (paths < 1 || shared < 0 || levels <= shared || levels > 64 || calls < paths) {
        fprintf(stderr, "usage: frames PATHS SHARED LEVELS CALLS\n");
        return 2;
    }
    if (calls > paths)
        for (long i = 0; i < 4 * paths; i++)
            descend((unsigned long)(i % paths) << shared, levels);
    else
        descend(0, 1); /* whatever a thread's first event brings with it */
    double start = now_ns();
    for (long i = 0; i < calls; i++)
        descend((unsigned long)(i % paths) << shared, levels);
    printf("%.2f\n", (now_ns() - start) / (double)calls);
    return 0;
}
