/* Threads whose arenas have several heaps each: every one takes more than a heap of 64 MiB holds, and
 * gives back every third block. At the end it tells what glibc says of each arena (malloc_info).
 *
 *   arenas THREADS
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "answer.h"

enum { MOST_THREADS = 8, STACK_BYTES = 256 << 10, BLOCK_BYTES = 100000, LEAST = 800, MORE = 170 };

static char stacks[MOST_THREADS][STACK_BYTES] __attribute__((aligned(4096)));
static char text[1 << 18];
static pthread_barrier_t begin, filled, told;

/* Blocks are as long as they need to be for malloc_info; what is inside is not written to. */
static void *fill(void *number) {
    size_t count = LEAST + MORE * (uintptr_t)number;
    char **blocks = malloc(count * sizeof *blocks);
    pthread_barrier_wait(&begin);
    for (size_t i = 0; i < count; i++)
        blocks[i] = malloc(BLOCK_BYTES);
    for (size_t i = 0; i < count; i += 3)
        free(blocks[i]);
    pthread_barrier_wait(&filled);
    pthread_barrier_wait(&told);
    return NULL;
}

static uint64_t in(const char *from, const char *to, const char *element, const char *attribute) {
    const char *at = strstr(from, element);
    if (!at || at > to)
        return 0;
    return strtoull(strstr(at, attribute) + strlen(attribute), NULL, 10);
}

static uint64_t size_in(const char *from, const char *to, const char *element) {
    return in(from, to, element, " size=\"");
}

#define REST "<total type=\"rest\""

/* glibc adds up size words as they are, so with a bit that is set in each of the chunks in bins
 * (malloc/malloc.c of 2.36, __malloc_info: r->mchunk_size). Sizes alone come to multiples of 16. */
static int has_bits_in_sizes(void) {
    int found = 0;
    for (const char *at = text; (at = strstr(at, REST)); at++)
        found |= size_in(at, at + 1, REST) % 16 != 0;
    return found;
}

/* Free chunks and the top. */
static uint64_t free_in(const char *from, const char *to) {
    uint64_t in_bins = in(from, to, REST, " count=\"") - 1;
    return size_in(from, to, "<total type=\"fast\"") + size_in(from, to, REST) -
           (has_bits_in_sizes() ? in_bins : 0);
}

static void tell_arenas(void) {
    unsigned arenas = 0;
    for (const char *at = text, *end; (at = strstr(at, "<heap nr=")); at = end, arenas++) {
        char name[32] = "arena.";
        end = strstr(at, "</heap>");
        if (!end)
            _exit(96);
        name[6] = (char)('0' + arenas / 10);
        name[7] = (char)('0' + arenas % 10);
        put_text(name);
        answer(".heaps", size_in(at, end, "<aspace type=\"subheaps\""));
        put_text(name);
        answer(".mapped", size_in(at, end, "<aspace type=\"mprotect\""));
        put_text(name);
        answer(".used", size_in(at, end, "<system type=\"current\"") - free_in(at, end));
    }
    answer("arenas", arenas);
}

int main(int count, char **arguments) {
    size_t threads = argument(count, arguments, 1, MOST_THREADS);
    pthread_t running[MOST_THREADS];
    FILE *info = fmemopen(text, sizeof text, "w");
    if (!info || threads > MOST_THREADS)
        return 98;
    setvbuf(info, NULL, _IONBF, 0);
    pthread_barrier_init(&begin, NULL, (unsigned)threads);
    pthread_barrier_init(&filled, NULL, (unsigned)threads + 1);
    pthread_barrier_init(&told, NULL, (unsigned)threads + 1);
    for (uintptr_t i = 0; i < threads; i++) {
        pthread_attr_t own_stack;
        pthread_attr_init(&own_stack);
        pthread_attr_setstack(&own_stack, stacks[i], STACK_BYTES);
        if (pthread_create(&running[i], &own_stack, fill, (void *)i) != 0)
            return 99;
    }
    pthread_barrier_wait(&filled);
    malloc_info(0, info);
    tell_arenas();
    flush_answers();
    /* The process ends while the threads wait: their arenas stay as they are. */
    return 0;
}
