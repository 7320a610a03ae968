/* Threads that fill a heap, empty most of it, have it trimmed and fill some of it again. After each
 * step the program holds until the tracer has looked at all of it, and tells its own sums, and what
 * the kernel says of the heap: the private anonymous memory that is neither a stack nor the zeroed
 * part of an object. Then nothing happens for a while, whose begin and end it tells.
 *
 * Beside its own sums it tells what the allocator says of itself.
 *
 *   checkpoints MEGABYTES THREADS
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "checkpoint.h"

#ifndef __GLIBC_PREREQ
#define __GLIBC_PREREQ(major, minor) 0
#endif

/* So many looks are waited for: as they come, the allocator is asked again, too. They would take long
 * to go over a large heap, for whose sake others are asked for. */
enum { LOOKS = 8, LARGE_MEGABYTES = 500 };
enum { MOST_THREADS = 8, STACK_BYTES = 256 << 10, MEAN_BYTES = 4600 };

struct kept {
    unsigned char *block;
    size_t size;
};

/* In the zeroed part of the program: heaps are told from stacks by that. */
static char stacks[MOST_THREADS][STACK_BYTES] __attribute__((aligned(4096)));
static struct kept *blocks;
static size_t threads, blocks_each;
static pthread_barrier_t begin, done;
static enum { BURST, FREES, REFILL, END } step;

static size_t size_of(size_t number) {
    size_t random = number * 2654435761u % 0xffffffff;
    return number % 1000 == 999 ? 140000 + random % 100000 : 16 + random % 9000;
}

static void take(struct kept *at, size_t size) {
    at->block = malloc(size);
    at->size = size;
    memset(at->block, 1, size);
}

static void give_back(struct kept *at) {
    free(at->block);
    at->block = NULL;
}

static int stays(size_t number) {
    return number % 4 == 0 || (number % blocks_each > blocks_each / 2 && number % 3 == 0);
}

static void work(size_t thread) {
    size_t first = thread * blocks_each, last = first + blocks_each;
    size_t other = (thread + 1) % threads * blocks_each - first;
    for (size_t i = first; i < last; i++) {
        /* One block in eight is freed by a neighbour. */
        struct kept *at = &blocks[step == FREES && (i - first) % 8 == 1 ? i + other : i];
        if (step == BURST)
            take(at, size_of(i));
        else if (step == FREES && at->block && !stays((size_t)(at - blocks)))
            give_back(at);
        else if (step == REFILL && !at->block && i % 2)
            take(at, size_of(i * 7));
    }
}

static void *work_on_a_thread(void *number) {
    for (;;) {
        pthread_barrier_wait(&begin);
        if (step == END)
            return NULL;
        work((uintptr_t)number);
        pthread_barrier_wait(&done);
    }
}

static void do_step(int next) {
    step = next;
    if (threads > 1)
        pthread_barrier_wait(&begin);
    if (step != END)
        work(0);
    if (threads > 1 && step != END)
        pthread_barrier_wait(&done);
}

static int (*of_glibc)(size_t);
static int (*of_jemalloc)(const char *, void *, size_t *, void *, size_t);
static void (*of_mimalloc)(_Bool);
static void (*mimalloc_info)(size_t *, size_t *, size_t *, size_t *, size_t *, size_t *, size_t *,
                             size_t *);
static void (*of_tcmalloc)(void);
static int (*glibc_info)(int, FILE *);
static FILE *info;

/* A name that is not there costs a block, for the message, and so does a stream. */
static void find_allocators_own(void) {
    of_jemalloc = dlsym(RTLD_DEFAULT, "mallctl");
    of_mimalloc = dlsym(RTLD_DEFAULT, "mi_collect");
    mimalloc_info = of_mimalloc ? dlsym(RTLD_DEFAULT, "mi_process_info") : NULL;
    of_tcmalloc = dlsym(RTLD_DEFAULT, "MallocExtension_ReleaseFreeMemory");
    if (of_jemalloc || of_mimalloc || of_tcmalloc)
        return;
    of_glibc = dlsym(RTLD_DEFAULT, "malloc_trim");
    glibc_info = dlsym(RTLD_DEFAULT, "malloc_info");
    info = glibc_info ? fmemopen(text, sizeof text, "w") : NULL;
    if (info)
        setvbuf(info, NULL, _IONBF, 0);
}

/* Has the allocator give back what it can; musl has nothing of the kind. */
static void trim(void) {
    /* 4096 stands for all arenas (MALLCTL_ARENAS_ALL). */
    if (of_jemalloc)
        of_jemalloc("arena.4096.purge", NULL, NULL, NULL, 0);
    else if (of_mimalloc)
        of_mimalloc(1);
    else if (of_tcmalloc)
        of_tcmalloc();
    else if (of_glibc)
        of_glibc(0);
}

static uint64_t statistic(const char *name) {
    size_t value = 0, length = sizeof value;
    of_jemalloc(name, &value, &length, NULL, 0);
    return value;
}

/* The size in the last such element: those of all arenas together come last. */
static uint64_t total(const char *element) {
    const char *last = NULL;
    for (const char *at = text; (at = strstr(at, element)); at++)
        last = strstr(at, "size=\"");
    return last ? strtoull(last + 6, NULL, 10) : 0;
}

/* What the allocator says of itself, after the program's own sums and those of the kernel. */
static void tell_allocators_view(const char *when) {
    if (mimalloc_info) {
        size_t committed = 0;
        mimalloc_info(NULL, NULL, NULL, NULL, NULL, &committed, NULL, NULL);
        answer_of(when, "mimalloc.current_commit", committed);
    }
    if (of_jemalloc) {
        uint64_t epoch = 1;
        of_jemalloc("epoch", NULL, NULL, &epoch, sizeof epoch);
        answer_of(when, "jemalloc.allocated", statistic("stats.allocated"));
        answer_of(when, "jemalloc.active", statistic("stats.active"));
        answer_of(when, "jemalloc.resident", statistic("stats.resident"));
        answer_of(when, "jemalloc.metadata", statistic("stats.metadata"));
    }
#if __GLIBC_PREREQ(2, 33)
    if (info) {
        struct mallinfo2 now = mallinfo2();
        answer_of(when, "mallinfo2.arena", now.arena);
        answer_of(when, "mallinfo2.hblkhd", now.hblkhd);
        answer_of(when, "mallinfo2.uordblks", now.uordblks);
        answer_of(when, "mallinfo2.fordblks", now.fordblks);
        answer_of(when, "mallinfo2.keepcost", now.keepcost);
        rewind(info);
        glibc_info(0, info);
        answer_of(when, "malloc_info.mapped_blocks", total("<total type=\"mmap\""));
        answer_of(when, "malloc_info.system", total("<system type=\"current\""));
        answer_of(when, "malloc_info.accessible", total("<aspace type=\"mprotect\""));
    }
#endif
}

static void checkpoint(const char *when, uint64_t looks) {
    uint64_t live = 0, usable = 0, from_ns = hold_still(looks);
    for (size_t i = 0; i < threads * blocks_each; i++) {
        live += blocks[i].block ? blocks[i].size : 0;
        usable += blocks[i].block ? malloc_usable_size(blocks[i].block) : 0;
    }
    answer_of(when, "live_bytes", live);
    answer_of(when, "usable_bytes", usable);
    tell_kernels_view(when);
    tell_allocators_view(when);
    stay_still(when, from_ns);
}

int main(int count, char **arguments) {
    size_t megabytes = argument(count, arguments, 1, 10);
    uint64_t looks = megabytes < LARGE_MEGABYTES ? LOOKS : 0;
    pthread_t running[MOST_THREADS];
    threads = argument(count, arguments, 2, 1);
    if (threads < 1 || threads > MOST_THREADS)
        return 2;
    blocks_each = (megabytes << 20) / MEAN_BYTES / threads;
    /* Shared, so that it is no heap for anyone who asks the kernel. */
    blocks = mmap(NULL, threads * blocks_each * sizeof *blocks, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_barrier_init(&begin, NULL, (unsigned)threads);
    pthread_barrier_init(&done, NULL, (unsigned)threads);
    for (uintptr_t i = 1; i < threads; i++) {
        pthread_attr_t own_stack;
        pthread_attr_init(&own_stack);
        pthread_attr_setstack(&own_stack, stacks[i], STACK_BYTES);
        if (pthread_create(&running[i], &own_stack, work_on_a_thread, (void *)i) != 0)
            return 99;
    }
    find_allocators_own();
    /* Nothing is there yet. */
    checkpoint("begin", LOOKS);
    do_step(BURST);
    checkpoint("burst", looks);
    do_step(FREES);
    checkpoint("freed", looks);
    trim();
    checkpoint("trimmed", looks);
    do_step(REFILL);
    checkpoint("refilled", looks);
    do_step(END);
    for (size_t i = 1; i < threads; i++)
        pthread_join(running[i], NULL);
    return 0;
}
