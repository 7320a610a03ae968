/* An allocator in front of the C library's whose malloc becomes slow when it is told to: it waits
 * so many nanoseconds before each call. */
#include <stddef.h>
#include <time.h>

void *__libc_malloc(size_t);
void __libc_free(void *);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);

static long wait_ns;

void slow_malloc_waits(long ns) {
    wait_ns = ns;
}

static long now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000 + now.tv_nsec;
}

void *malloc(size_t size) {
    if (wait_ns > 0)
        for (long until = now_ns() + wait_ns; now_ns() < until;)
            ;
    return __libc_malloc(size);
}

void free(void *block) {
    __libc_free(block);
}

void *calloc(size_t count, size_t size) {
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size) {
    return __libc_realloc(block, size);
}
