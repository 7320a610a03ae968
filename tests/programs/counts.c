/* A program that knows its own counts: what it acquired, released and resized, and what lives at
 * the end.
 *
 *   counts family ROUNDS            every entry point of the malloc family
 *   counts threads THREADS ROUNDS   the same on threads that are all alive at once
 *   counts failing ROUNDS           reallocs of a block that fail and leave it alone
 *   counts sized ROUNDS             free_sized and free_aligned_sized, where something exports them
 *   counts short THREADS ROUNDS     threads one after another, which free in destructors as well
 */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#include "answer.h"

enum { MOST_THREADS = 64, MOST_KEPT = 4096, STACK_BYTES = 256 * 1024 };

struct kept {
    void *block;
    size_t size;
};

struct worker {
    uint64_t allocs, frees, reallocs, live_blocks, live_bytes, peak_live_bytes;
    struct kept kept[MOST_KEPT];
    size_t kept_count;
    unsigned long rounds;
    pthread_t thread;
};

static struct worker workers[MOST_THREADS + 1];

/* Not known to the compiler, so that it cannot warn. */
static volatile size_t too_much = PTRDIFF_MAX;

extern void free_sized(void *block, size_t size) __attribute__((weak));
extern void free_aligned_sized(void *block, size_t alignment, size_t size) __attribute__((weak));

static void grown(struct worker *w, size_t bytes) {
    w->live_bytes += bytes;
    if (w->live_bytes > w->peak_live_bytes)
        w->peak_live_bytes = w->live_bytes;
}

static void *acquired(struct worker *w, void *block, size_t size) {
    if (!block)
        return NULL;
    if (size)
        *(volatile char *)block = 1;
    w->allocs++;
    w->live_blocks++;
    grown(w, size);
    return block;
}

static void *resized(struct worker *w, void *block, size_t from, size_t to) {
    w->reallocs++;
    w->live_bytes -= from;
    grown(w, to);
    return block;
}

static void released(struct worker *w, size_t size) {
    w->frees++;
    w->live_blocks--;
    w->live_bytes -= size;
}

static void release(struct worker *w, void *block, size_t size) {
    released(w, size);
    free(block);
}

static void keep_or_release(struct worker *w, void *block, size_t size, int keep) {
    if (keep && w->kept_count < MOST_KEPT)
        w->kept[w->kept_count++] = (struct kept){block, size};
    else
        release(w, block, size);
}

static void calls_that_fail(struct worker *w) {
    void *block = NULL;
    acquired(w, malloc(too_much), 0);
    acquired(w, calloc(too_much, 3), 0);
    acquired(w, realloc(NULL, too_much), 0);
    acquired(w, reallocarray(NULL, too_much, 3), 0);
    acquired(w, aligned_alloc(64, too_much), 0);
    if (posix_memalign(&block, 3, 10) != EINVAL || block)
        _exit(99);
    if (posix_memalign(&block, 64, too_much) != ENOMEM || block)
        _exit(98);
    free(NULL);
    /* Both are free(NULL) under another name, where they are known at all. */
    if (free_sized)
        free_sized(NULL, 10);
}

static void aligned_calls(struct worker *w, unsigned long round) {
    void *block = NULL;
    if (posix_memalign(&block, 64, 300) != 0)
        _exit(97);
    keep_or_release(w, acquired(w, block, 300), 300, round % 9 == 0);
    release(w, acquired(w, aligned_alloc(128, 256), 256), 256);
    keep_or_release(w, acquired(w, memalign(32, 77), 77), 77, round % 10 == 0);
    release(w, acquired(w, valloc(500), 500), 500);
#ifdef __GLIBC__
    release(w, acquired(w, pvalloc(10), 10), 10);
#endif
}

static void resizing_calls(struct worker *w, unsigned long round) {
    /* A new block, in place, a shrink, a move. */
    char *block = acquired(w, realloc(NULL, 40), 40);
    char *wall = acquired(w, malloc(40), 40);
    block = resized(w, realloc(block, 40), 40, 40);
    block = resized(w, realloc(block, 20), 40, 20);
    block = resized(w, realloc(block, 5000), 20, 5000);
    block = resized(w, reallocarray(block, 10, 60), 5000, 600);
    release(w, wall, 40);
    keep_or_release(w, block, 600, round % 8 == 0);

    block = acquired(w, reallocarray(NULL, 3, 40), 120);
    void *rest = realloc(block, 0);
    if (rest)
        release(w, resized(w, rest, 120, 0), 0);
    else
        released(w, 120);
}

static void large_calls(struct worker *w, unsigned long round) {
    if (round % 16 != 0)
        return;
    char *block = acquired(w, malloc(1 << 20), 1 << 20);
    block = resized(w, realloc(block, 3 << 20), 1 << 20, 3 << 20);
    block = resized(w, realloc(block, 2 << 20), 3 << 20, 2 << 20);
    release(w, block, 2 << 20);
}

static void family(struct worker *w) {
    for (unsigned long round = 0; round < w->rounds; round++) {
        size_t size = 24 + (round * 37) % 3000;
        keep_or_release(w, acquired(w, malloc(size), size), size, round % 7 == 0);
        keep_or_release(w, acquired(w, calloc(7, 33), 231), 231, round % 11 == 0);
        keep_or_release(w, acquired(w, malloc(0), 0), 0, round % 50 == 0);
        aligned_calls(w, round);
        resizing_calls(w, round);
        large_calls(w, round);
        calls_that_fail(w);
    }
}

static void failing(struct worker *w) {
    char *block = acquired(w, malloc(100), 100);
    for (unsigned long round = 0; round < w->rounds; round++)
        if (realloc(block, too_much) || reallocarray(block, too_much, 3))
            _exit(96);
    block[99] = 1;
    answer("failed_reallocs", 2 * w->rounds);
}

static void sized(struct worker *w) {
    if (!free_sized || !free_aligned_sized)
        return;
    for (unsigned long round = 0; round < w->rounds; round++) {
        void *block = acquired(w, malloc(50), 50);
        released(w, 50);
        free_sized(block, 50);
        block = acquired(w, aligned_alloc(64, 128), 128);
        released(w, 128);
        free_aligned_sized(block, 64, 128);
    }
}

static pthread_barrier_t all_alive;

static void *family_on_a_thread(void *worker) {
    pthread_barrier_wait(&all_alive);
    family(worker);
    pthread_barrier_wait(&all_alive);
    return NULL;
}

/* Each run of this destructor leaves a block for the next, until the C library gives up calling
 * it: frees come after every other hook of the thread's end. */
static pthread_key_t at_thread_end;
static struct worker *const short_worker = &workers[1];

static void thread_ends(void *block) {
    struct worker *w = short_worker;
    release(w, block, 64);
    pthread_setspecific(at_thread_end, acquired(w, malloc(64), 64));
}

static void *short_thread(void *unused) {
    struct worker *w = short_worker;
    (void)unused;
    for (unsigned long round = 0; round < w->rounds; round++)
        release(w, acquired(w, malloc(100), 100), 100);
    pthread_setspecific(at_thread_end, acquired(w, malloc(64), 64));
    return NULL;
}

static void start(struct worker *w, void *(*body)(void *)) {
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, STACK_BYTES);
    if (pthread_create(&w->thread, &small, body, w) != 0)
        _exit(95);
    pthread_attr_destroy(&small);
}

static void side_by_side(unsigned long threads) {
    pthread_barrier_init(&all_alive, NULL, (unsigned)threads);
    for (unsigned long i = 1; i <= threads; i++)
        start(&workers[i], family_on_a_thread);
    for (unsigned long i = 1; i <= threads; i++)
        pthread_join(workers[i].thread, NULL);
}

static void one_after_another(unsigned long threads) {
    pthread_key_create(&at_thread_end, thread_ends);
    for (unsigned long i = 0; i < threads; i++) {
        start(short_worker, short_thread);
        pthread_join(short_worker->thread, NULL);
    }
}

static void answers(void) {
    struct worker sum = {0};
    uint64_t usable_bytes = 0;
    for (int i = 0; i <= MOST_THREADS; i++) {
        struct worker *w = &workers[i];
        sum.allocs += w->allocs;
        sum.frees += w->frees;
        sum.reallocs += w->reallocs;
        sum.live_blocks += w->live_blocks;
        sum.live_bytes += w->live_bytes;
        sum.peak_live_bytes += w->peak_live_bytes;
        for (size_t k = 0; k < w->kept_count; k++)
            usable_bytes += malloc_usable_size(w->kept[k].block);
    }
    answer("allocs", sum.allocs);
    answer("frees", sum.frees);
    answer("reallocs", sum.reallocs);
    answer("live_blocks", sum.live_blocks);
    answer("live_bytes", sum.live_bytes);
    answer("usable_bytes", usable_bytes);
    answer("peak_live_bytes", sum.peak_live_bytes);
    flush_answers();
}

int main(int count, char **arguments) {
    const char *mode = count > 1 ? arguments[1] : "family";
    unsigned long first = argument(count, arguments, 2, 100);
    unsigned long second = argument(count, arguments, 3, 100);
    for (int i = 1; i <= MOST_THREADS; i++)
        workers[i].rounds = second;
    workers[0].rounds = first;
    if (strcmp(mode, "family") == 0)
        family(&workers[0]);
    else if (strcmp(mode, "failing") == 0)
        failing(&workers[0]);
    else if (strcmp(mode, "sized") == 0)
        sized(&workers[0]);
    else if (strcmp(mode, "threads") == 0)
        side_by_side(first);
    else if (strcmp(mode, "short") == 0)
        one_after_another(first);
    answers();
    return 0;
}
