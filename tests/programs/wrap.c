/* Blocks of random sizes and lifetimes, on one thread or on several that hand them over as fast
 * as they can. Knows its own calls, and what lives at the end.
 *
 * wrap THREADS STEPS: so many steps in all. */
#include "answer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { SHARED = 4096, OWN = 2048 };

static _Atomic(void *) shared[SHARED];
static atomic_long live_bytes, live_blocks, allocs, frees, reallocs;
static long steps;
static int threads;

static uint64_t next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Each block begins with the size that was asked for. */
static size_t *size_of(void *block) {
    return block;
}

static void *acquire(uint64_t random) {
    /* One in 256 is above glibc's threshold for a mapping of its own. */
    size_t size = 8 + (random >> 40) % ((random & 255) == 0 ? 200000 : 600);
    void *block;
    switch (random >> 8 & 7) {
    case 0:
        block = calloc(1, size);
        break;
    case 1:
        size = (size + 63) & ~(size_t)63;
        block = aligned_alloc(64, size);
        break;
    default:
        block = malloc(size);
    }
    *size_of(block) = size;
    return block;
}

static void *work(void *number) {
    uint64_t state = 88172645463325252u * ((uintptr_t)number * 2 + 1);
    static _Thread_local void *own[OWN];
    long freed = 0, moved = 0, kept = 0, bytes = 0;
    for (long step = 0; step < steps / threads; step++) {
        uint64_t random = next(&state);
        void *block = acquire(random), *old;
        bytes += (long)*size_of(block);
        kept++;
        if ((random >> 16 & 3) == 0) {
            old = block;
        } else if (threads > 1 && (random >> 18 & 1)) {
            old = atomic_exchange(&shared[(random >> 20) % SHARED], block);
        } else {
            size_t place = (random >> 20) % OWN;
            old = own[place];
            own[place] = block;
        }
        if (old && (random >> 33 & 7) == 0) {
            size_t size = 8 + (random >> 36) % 900;
            bytes += (long)size - (long)*size_of(old);
            old = realloc(old, size);
            *size_of(old) = size;
            moved++;
        }
        if (old) {
            bytes -= (long)*size_of(old);
            kept--;
            freed++;
            free(old);
        }
    }
    live_bytes += bytes;
    live_blocks += kept;
    allocs += steps / threads;
    frees += freed;
    reallocs += moved;
    return NULL;
}

int main(int count, char **arguments) {
    if (count != 3)
        return 2;
    threads = atoi(arguments[1]);
    steps = atol(arguments[2]);
    pthread_t others[64];
    for (intptr_t number = 1; number < threads; number++)
        pthread_create(&others[number], NULL, work, (void *)number);
    work(NULL);
    for (int number = 1; number < threads; number++)
        pthread_join(others[number], NULL);
    answer("allocs", (uint64_t)allocs);
    answer("frees", (uint64_t)frees);
    answer("reallocs", (uint64_t)reallocs);
    answer("live_blocks", (uint64_t)live_blocks);
    answer("live_bytes", (uint64_t)live_bytes);
    flush_answers();
    return 0;
}
