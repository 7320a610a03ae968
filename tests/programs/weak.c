/* Calls those members of the malloc family that its C library may lack, where it finds them. */
#define _GNU_SOURCE
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>

#include "answer.h"

#define MAYBE __attribute__((weak))

MAYBE void *pvalloc(size_t);
MAYBE void *valloc(size_t);
MAYBE void *reallocarray(void *, size_t, size_t);
MAYBE void cfree(void *);
MAYBE void free_sized(void *, size_t);
MAYBE void free_aligned_sized(void *, size_t, size_t);

static void *checked(void *block, uintptr_t alignment, size_t bytes) {
    if (block == NULL || (uintptr_t)block % alignment != 0)
        exit(3);
    return memset(block, 1, bytes);
}

int main(void) {
    if (pvalloc)
        free(checked(pvalloc(100), 4096, 4096));
    if (valloc)
        free(checked(valloc(100), 4096, 100));
    if (reallocarray)
        free(checked(reallocarray(malloc(1), 100, 100), 16, 10000));
    if (cfree)
        cfree(checked(malloc(100), 16, 100));
    if (free_sized)
        free_sized(checked(malloc(100), 16, 100), 100);
    if (free_aligned_sized)
        free_aligned_sized(checked(aligned_alloc(64, 128), 64, 128), 64, 128);
    put_text("all that are there work\n");
    flush_answers();
    return 0;
}
