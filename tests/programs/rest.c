/* Threads that take blocks and then rest, each with its blocks, while one thread works on and on;
 * in the end they wake, give some back, and end. Knows its own calls.
 *
 *   rest THREADS STEPS   so many that rest; steps of the one that works */
#include <pthread.h>
#include <stdlib.h>

#include "answer.h"

enum { MOST_THREADS = 64, OWN = 30, KEPT = 10, PLACES = 1000, STACK_BYTES = 64 * 1024 };

static pthread_barrier_t at_rest, awake;

/* Sizes differ from thread to thread, so that a block that is mistaken for another one shows. */
static size_t size_of(uintptr_t thread, int number) {
    return 16 + 100 * thread + (size_t)number;
}

static void *rest(void *number) {
    uintptr_t thread = (uintptr_t)number;
    char *blocks[OWN];
    for (int i = 0; i < OWN; i++)
        blocks[i] = malloc(size_of(thread, i));
    pthread_barrier_wait(&at_rest);
    pthread_barrier_wait(&awake);
    for (int i = KEPT; i < OWN; i++)
        free(blocks[i]);
    return NULL;
}

/* Takes and frees in turn; in the end nothing of it lives. */
static uint64_t work(uint64_t steps) {
    static void *blocks[PLACES];
    uint64_t freed = 0;
    for (uint64_t step = 0; step < steps; step++) {
        uint64_t random = next_random(), place = (random >> 20) % PLACES;
        freed += blocks[place] != NULL;
        free(blocks[place]);
        blocks[place] = malloc(1 + (random >> 40) % 1000);
    }
    for (int place = 0; place < PLACES; place++) {
        freed += blocks[place] != NULL;
        free(blocks[place]);
    }
    return freed;
}

int main(int count, char **arguments) {
    unsigned long threads = argument(count, arguments, 1, 1), kept_bytes = 0;
    unsigned long steps = argument(count, arguments, 2, 1000);
    pthread_t running[MOST_THREADS];
    pthread_attr_t small;
    if (threads > MOST_THREADS)
        return 2;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, STACK_BYTES);
    pthread_barrier_init(&at_rest, NULL, (unsigned)threads + 1);
    pthread_barrier_init(&awake, NULL, (unsigned)threads + 1);
    for (uintptr_t i = 0; i < threads; i++)
        if (pthread_create(&running[i], &small, rest, (void *)i) != 0)
            return 99;
    pthread_barrier_wait(&at_rest);
    uint64_t freed = work(steps);
    pthread_barrier_wait(&awake);
    for (uintptr_t i = 0; i < threads; i++) {
        pthread_join(running[i], NULL);
        for (int kept = 0; kept < KEPT; kept++)
            kept_bytes += size_of(i, kept);
    }
    answer("allocs", threads * OWN + steps);
    answer("frees", threads * (OWN - KEPT) + freed);
    answer("live_blocks", threads * KEPT);
    answer("live_bytes", kept_bytes);
    flush_answers();
    return 0;
}
