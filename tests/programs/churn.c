/* Threads that live for a moment, hundreds at a time: each takes blocks, frees most, hands some
 * over to whoever comes later and frees what others left. Knows its own calls.
 *
 *   churn THREADS AT_ONCE */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "answer.h"

enum { SHARED = 1000, OWN = 10, MOST_AT_ONCE = 64, STACK_BYTES = 64 * 1024 };

struct block {
    size_t size;
};

static _Atomic(struct block *) shared[SHARED];
static atomic_long live_bytes, frees;

static void *take(uint64_t *random) {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    size_t size = sizeof(struct block) + (*random >> 40) % 500;
    struct block *block = malloc(size);
    block->size = size;
    live_bytes += (long)size;
    return block;
}

static void give(struct block *block) {
    if (!block)
        return;
    live_bytes -= (long)block->size;
    frees++;
    free(block);
}

static void *live_shortly(void *number) {
    uint64_t random = 88172645463325252u * ((uintptr_t)number * 2 + 1);
    struct block *own[OWN];
    for (int i = 0; i < OWN; i++)
        own[i] = take(&random);
    for (int i = 1; i < OWN; i++)
        give(own[i]);
    /* One thread in three hands its last block over, the others free it. */
    if ((uintptr_t)number % 3 == 0)
        give(atomic_exchange(&shared[(random >> 20) % SHARED], own[0]));
    else
        give(own[0]);
    return NULL;
}

int main(int count, char **arguments) {
    unsigned long threads = argument(count, arguments, 1, 1000);
    unsigned long at_once = argument(count, arguments, 2, 8);
    pthread_t running[MOST_AT_ONCE];
    pthread_attr_t small;
    if (at_once > MOST_AT_ONCE)
        return 2;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, STACK_BYTES);
    for (unsigned long begun = 0; begun < threads; begun += at_once) {
        for (unsigned long i = 0; i < at_once; i++)
            if (pthread_create(&running[i], &small, live_shortly, (void *)(begun + i)) != 0)
                return 99;
        for (unsigned long i = 0; i < at_once; i++)
            pthread_join(running[i], NULL);
    }
    uint64_t left = 0;
    for (int i = 0; i < SHARED; i++)
        left += shared[i] != NULL;
    answer("threads", threads + 1);
    answer("own_allocs", OWN * (uint64_t)threads);
    answer("own_frees", (uint64_t)frees);
    answer("live_blocks", left);
    answer("live_bytes", (uint64_t)live_bytes);
    flush_answers();
    return 0;
}
