/* Prints what each call of the malloc family answers in its corner cases: whether there is a
 * block, how it is aligned, what it can hold, and errno, which starts as 12345 each time. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "answer.h"

static volatile size_t huge = SIZE_MAX;
static volatile size_t half = PTRDIFF_MAX;
static volatile size_t zero;

static void shown(const char *call, int error, size_t alignment, void *block) {
    put_text(call);
    put_text(block ? ": a block" : ": none");
    if (block) {
        put_text((uintptr_t)block % alignment ? ", not aligned" : ", aligned");
        put_text(", usable ");
        put_number(malloc_usable_size(block));
    }
    put_text(", errno ");
    put_number((uint64_t)error);
    put_text("\n");
}

/* Evaluates the call with a known errno, shows the block and frees it. */
#define SHOW(name, alignment, call)                     \
    do {                                                \
        errno = 12345;                                  \
        void *shown_block = (call);                     \
        int error = errno;                              \
        shown(name, error, alignment, shown_block);     \
        free(shown_block);                              \
    } while (0)

static void aligned(const char *name, size_t alignment, size_t size) {
    void *block = (void *)77;
    errno = 12345;
    int answered = posix_memalign(&block, alignment, size);
    int error = errno;
    put_text(name);
    put_text(": answers ");
    put_number((uint64_t)answered);
    put_text(", errno ");
    put_number((uint64_t)error);
    if (answered) {
        put_text(block == (void *)77 ? ", pointer left alone\n" : ", pointer changed\n");
        return;
    }
    put_text(", ");
    shown("block", 0, alignment, block);
    free(block);
}

static void resizing(void) {
    SHOW("realloc(NULL, 0)", 16, realloc(NULL, zero));
    SHOW("realloc(p, 0)", 16, realloc(malloc(100), zero));
    SHOW("realloc(p, 200)", 16, realloc(malloc(100), 200));
    SHOW("realloc(NULL, huge)", 16, realloc(NULL, huge));
    SHOW("reallocarray(NULL, 0, 8)", 16, reallocarray(NULL, zero, 8));
    SHOW("reallocarray(p, 0, 8)", 16, reallocarray(malloc(100), zero, 8));
    SHOW("reallocarray overflow", 16, reallocarray(NULL, huge / 2, 3));
    SHOW("reallocarray wraps to 0", 16, reallocarray(NULL, half + 1, 2));
    char *block = malloc(100);
    memset(block, 42, 100);
    SHOW("realloc(p, huge)", 16, realloc(block, huge));
    SHOW("reallocarray(p, overflow)", 16, reallocarray(block, huge / 2, 3));
    put_text(block[99] == 42 ? "the block is still there\n" : "the block is gone\n");
    free(block);
}

static void aligning(void) {
    aligned("posix_memalign(8, 100)", 8, 100);
    aligned("posix_memalign(4096, 0)", 4096, zero);
    aligned("posix_memalign(0, 10)", 0, 10);
    aligned("posix_memalign(2, 10)", 2, 10);
    aligned("posix_memalign(24, 10)", 24, 10);
    aligned("posix_memalign(64, huge)", 64, huge);
    aligned("posix_memalign(huge, 10)", half + 1, 10);
    SHOW("aligned_alloc(64, 65)", 64, aligned_alloc(64, 65));
    SHOW("aligned_alloc(64, 0)", 64, aligned_alloc(64, zero));
    SHOW("aligned_alloc(3, 9)", 1, aligned_alloc(3, 9));
    SHOW("aligned_alloc(0, 9)", 1, aligned_alloc(zero, 9));
    SHOW("aligned_alloc(64, huge)", 64, aligned_alloc(64, huge));
    SHOW("memalign(16 KiB, 1)", 1 << 14, memalign(1 << 14, 1));
    SHOW("memalign(48, 100)", 16, memalign(48, 100));
    SHOW("memalign(huge, 100)", 16, memalign(huge, 100));
    SHOW("valloc(0)", 4096, valloc(zero));
    SHOW("valloc(huge)", 4096, valloc(huge));
#ifdef __GLIBC__
    SHOW("pvalloc(0)", 4096, pvalloc(zero));
    SHOW("pvalloc(4097)", 4096, pvalloc(4097));
    SHOW("pvalloc(huge)", 4096, pvalloc(huge));
#endif
}

static void plain(void) {
    SHOW("malloc(0)", 16, malloc(zero));
    SHOW("malloc(1)", 16, malloc(1));
    SHOW("malloc(1033)", 16, malloc(1033));
    SHOW("malloc(1 MB)", 16, malloc(1000000));
    SHOW("malloc(half)", 16, malloc(half));
    SHOW("malloc(huge)", 16, malloc(huge));
    SHOW("calloc(0, 0)", 16, calloc(zero, zero));
    SHOW("calloc(0, huge)", 16, calloc(zero, huge));
    SHOW("calloc(huge, huge)", 16, calloc(huge, huge));
    SHOW("calloc wraps to 0", 16, calloc(half + 1, 2));
    SHOW("calloc(half, 1)", 16, calloc(half, 1));
    SHOW("calloc(3, 5)", 16, calloc(3, 5));
}

static void releasing(void) {
    errno = 12345;
    free(NULL);
    free(malloc(10));
    free(malloc(10000000));
    put_text("free: errno ");
    put_number((uint64_t)errno);
    put_text("\nmalloc_usable_size(NULL): ");
    put_number(malloc_usable_size(NULL));
    put_text("\n");
}

/* A large calloc over pages that were dirty before is zero all the same. */
static void zeroed(void) {
    for (size_t size = 100; size < 3000000; size *= 3) {
        char *dirty = malloc(size);
        memset(dirty, 255, size);
        free(dirty);
        char *clean = calloc(1, size);
        size_t wrong = 0;
        for (size_t i = 0; i < size; i++)
            wrong += clean[i] != 0;
        free(clean);
        answer("bytes_not_zero", wrong);
    }
}

int main(void) {
    plain();
    resizing();
    aligning();
    releasing();
    zeroed();
    flush_answers();
    return 0;
}
