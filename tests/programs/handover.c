/* Threads in a ring hand blocks over as fast as they can, each through one slot without a lock to
 * the next, which frees it at once: the hardest case for the order of events, since a release on
 * one thread follows its acquisition on another as closely as caches allow, and the address is
 * soon used again.
 *
 *   handover THREADS HANDOVERS   in all; some blocks are kept and live at the end
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "answer.h"

enum { MOST_THREADS = 16, KEPT = 50, BLOCK_BYTES = 48, STACK_BYTES = 256 * 1024 };

struct slot {
    _Alignas(128) _Atomic(char *) block;
};

static struct slot slots[MOST_THREADS];
static char *kept[MOST_THREADS][KEPT];
static unsigned long threads, each;
static pthread_barrier_t all_alive;

static int give(unsigned long mine) {
    if (atomic_load_explicit(&slots[mine].block, memory_order_relaxed))
        return 0;
    char *block = malloc(BLOCK_BYTES);
    block[0] = 1;
    atomic_store_explicit(&slots[mine].block, block, memory_order_release);
    return 1;
}

static int take(unsigned long mine, unsigned long taken) {
    struct slot *from = &slots[(mine + threads - 1) % threads];
    if (!atomic_load_explicit(&from->block, memory_order_relaxed))
        return 0;
    char *block = atomic_exchange_explicit(&from->block, NULL, memory_order_acquire);
    if (taken < KEPT)
        kept[mine][taken] = block;
    else
        free(block);
    return 1;
}

static void *hand_over(void *number) {
    unsigned long mine = (unsigned long)(uintptr_t)number, given = 0, taken = 0;
    pthread_barrier_wait(&all_alive);
    while (given < each || taken < each) {
        int done = 0;
        if (given < each && give(mine))
            given++, done = 1;
        if (taken < each && take(mine, taken))
            taken++, done = 1;
        if (!done)
            sched_yield();
    }
    pthread_barrier_wait(&all_alive);
    return NULL;
}

int main(int count, char **arguments) {
    pthread_t running[MOST_THREADS];
    pthread_attr_t small;
    threads = argument(count, arguments, 1, 2);
    each = argument(count, arguments, 2, 1000000) / threads;
    pthread_barrier_init(&all_alive, NULL, (unsigned)threads);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, STACK_BYTES);
    for (uintptr_t i = 0; i < threads; i++)
        if (pthread_create(&running[i], &small, hand_over, (void *)i) != 0)
            return 99;
    for (uintptr_t i = 0; i < threads; i++)
        pthread_join(running[i], NULL);
    unsigned long blocks_kept = threads * (each < KEPT ? each : KEPT);
    answer("allocs", threads * each);
    answer("frees", threads * each - blocks_kept);
    answer("live_blocks", blocks_kept);
    answer("live_bytes", blocks_kept * BLOCK_BYTES);
    flush_answers();
    return 0;
}
