/* Producers allocate blocks of 64 B to 2 KB and hand them to consumers, which free them: each pair
 * of threads through a ring of its own. Every free is on another thread than its malloc.
 *
 * usage: handover PAIRS BLOCKS        prints the seconds it took, as sqlite3's timer words it */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { RING = 256, MOST_PAIRS = 16, LEAST = 64, MOST = 2048, LINE = 64 };

struct ring {
    _Alignas(2 * LINE) atomic_ulong written;
    _Alignas(2 * LINE) atomic_ulong read;
    char *blocks[RING];
    unsigned long count;
};

static struct ring rings[MOST_PAIRS];

static void *produce(void *argument)
{
    struct ring *ring = argument;
    uint64_t random = 88172645463325252u;
    for (unsigned long i = 0; i < ring->count; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        char *block = malloc(LEAST + random % (MOST - LEAST));
        if (!block)
            exit(2);
        *block = 1;
        while (i - atomic_load_explicit(&ring->read, memory_order_acquire) == RING)
            sched_yield();
        ring->blocks[i % RING] = block;
        atomic_store_explicit(&ring->written, i + 1, memory_order_release);
    }
    return NULL;
}

static void *consume(void *argument)
{
    struct ring *ring = argument;
    for (unsigned long i = 0; i < ring->count; i++) {
        while (atomic_load_explicit(&ring->written, memory_order_acquire) == i)
            sched_yield();
        free(ring->blocks[i % RING]);
        atomic_store_explicit(&ring->read, i + 1, memory_order_release);
    }
    return NULL;
}

int main(int count, char **arguments)
{
    int pairs = count > 1 ? atoi(arguments[1]) : 0;
    long blocks = count > 2 ? atol(arguments[2]) : 0;
    if (pairs < 1 || pairs > MOST_PAIRS || blocks < 1) {
        fprintf(stderr, "usage: handover PAIRS BLOCKS, at most %d pairs\n", MOST_PAIRS);
        return 2;
    }
    pthread_t threads[2 * MOST_PAIRS];
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < pairs; i++) {
        rings[i].count = (unsigned long)blocks;
        if (pthread_create(&threads[2 * i], NULL, produce, &rings[i]) != 0 ||
            pthread_create(&threads[2 * i + 1], NULL, consume, &rings[i]) != 0)
            return 2;
    }
    for (int i = 0; i < 2 * pairs; i++)
        pthread_join(threads[i], NULL);
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("Run Time: real %.4f\n",
           (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec));
    return 0;
}
