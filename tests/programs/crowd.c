/* A heap amid thousands of mappings, which lie above and below that of a thread: it is filled, half
 * emptied and trimmed, and large blocks of it are given back. Then it tells what the kernel says of
 * it, and of the number of mappings.
 *
 *   crowd MAPPINGS
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "checkpoint.h"

enum { BLOCKS = 3000, LARGE_EVERY = 10, LARGE_BYTES = 200000, STACK_BYTES = 256 << 10 };

static char stack[STACK_BYTES] __attribute__((aligned(4096)));
static unsigned char *of_main[BLOCKS], *of_thread[BLOCKS];
static pthread_barrier_t filled, emptied;

/* None of them can be made one with its neighbours, and none is accessible: so none is heap. */
static void crowd(size_t mappings) {
    char *all = mmap(NULL, mappings * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED)
        _exit(97);
    for (size_t i = 0; i < mappings; i += 2)
        if (madvise(all + i * PAGE, PAGE, MADV_DONTFORK) != 0)
            _exit(96);
}

static void fill(unsigned char **blocks) {
    for (size_t i = 0; i < BLOCKS; i++) {
        size_t size = i % LARGE_EVERY ? 100 + i * 7 % 4000 : LARGE_BYTES;
        blocks[i] = malloc(size);
        memset(blocks[i], 1, size);
    }
}

/* The last ones go, so that heaps shrink, and every second one before. */
static void empty(unsigned char **blocks) {
    for (size_t i = 0; i < BLOCKS; i++)
        if (i > BLOCKS / 2 || i % 2)
            free(blocks[i]);
}

static void *work(void *unused) {
    fill(of_thread);
    pthread_barrier_wait(&filled);
    pthread_barrier_wait(&emptied);
    empty(of_thread);
    return unused;
}

static uint64_t count_mappings(void) {
    uint64_t mappings = 0;
    read_text("/proc/self/maps");
    for (char *line = text, *next; (next = strchr(line, '\n')); line = next + 1) {
        uint64_t start = strtoull(line, NULL, 16);
        /* Neither the tracer's own, nor the kernel's. */
        mappings += !(start >> 44 >= 1 && start >> 44 <= 2) && !(start >> 63);
    }
    return mappings;
}

int main(int count, char **arguments) {
    size_t mappings = argument(count, arguments, 1, 1000);
    uint64_t from_ns;
    pthread_attr_t own_stack;
    pthread_t thread;
    pthread_barrier_init(&filled, NULL, 2);
    pthread_barrier_init(&emptied, NULL, 2);
    pthread_attr_init(&own_stack);
    pthread_attr_setstack(&own_stack, stack, STACK_BYTES);
    crowd(mappings / 2);
    if (pthread_create(&thread, &own_stack, work, NULL) != 0)
        return 99;
    pthread_barrier_wait(&filled);
    crowd(mappings - mappings / 2);
    fill(of_main);
    /* Looks see heaps that are full. */
    hold_for_whole_cycle();
    pthread_barrier_wait(&emptied);
    pthread_join(thread, NULL);
    empty(of_main);
    malloc_trim(0);
    from_ns = hold_still(0);
    answer_of("trimmed", "mappings", count_mappings());
    tell_kernels_view("trimmed");
    stay_still("trimmed", from_ns);
    return 0;
}
