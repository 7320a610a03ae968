/* Holes that are filled again and again beside holes that are not: pairs of a block of 2,000 bytes
 * and one that stays, then pairs of a block of 3,000 bytes and one that stays. The latter are freed
 * once and for all, the former are freed and taken again in each cycle. It tells a moment in the
 * middle, at which all of them are holes.
 */
#include <malloc.h>
#include <stdlib.h>
#include <time.h>

#include "answer.h"

enum { HOLES = 200, AGAIN = 2000, ONCE = 3000, CYCLES = 4, TOLD_CYCLE = 2, REST_US = 5000 };

static char *again[HOLES], *once[HOLES], *stays[2 * HOLES];

static uint64_t now_unix_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static char *take(size_t size) {
    char *block = malloc(size);
    memset(block, 1, malloc_usable_size(block));
    return block;
}

/* The C library takes another order, so places are compared as sums. */
static uint64_t places(void) {
    uint64_t sum = 0;
    for (int i = 0; i < HOLES; i++)
        sum += (uint64_t)(uintptr_t)again[i];
    return sum;
}

int main(void) {
    uint64_t first, moment_ns = 0;
    for (int i = 0; i < HOLES; i++)
        again[i] = take(AGAIN), stays[i] = take(AGAIN);
    for (int i = 0; i < HOLES; i++)
        once[i] = take(ONCE), stays[HOLES + i] = take(AGAIN);
    first = places();
    for (int i = 0; i < HOLES; i++)
        free(once[i]);
    for (int cycle = 0; cycle < CYCLES; cycle++) {
        for (int i = 0; i < HOLES; i++)
            free(again[i]);
        usleep(REST_US);
        if (cycle == TOLD_CYCLE)
            moment_ns = now_unix_ns();
        usleep(REST_US);
        for (int i = 0; i < HOLES; i++)
            again[i] = take(AGAIN);
        if (places() != first)
            return 99;
    }
    answer("holes", HOLES);
    answer("again_bytes", malloc_usable_size(again[0]) + 8);
    /* The freed ones are as large as a block of their size would be. */
    answer("once_bytes", (ONCE + 8 + 15) / 16 * 16);
    answer("moment_unix_ns", moment_ns);
    flush_answers();
    return 0;
}
