/* An allocator that a signal handler may enter at any instruction: blocks come from a large array
 * by one atomic addition, and go onto and come off a list for their size class by one
 * compare-and-exchange. Nothing ever waits; who jumps out of a call loses at most its block. To be
 * preloaded. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { UNIT = 32, CLASSES = 22 };
static const size_t ROOM = (size_t)2 << 30;

/* In the 16 bytes before each block. */
struct head {
    uint32_t class, next;
    uint64_t base;
};

static char room[(size_t)2 << 30] __attribute__((aligned(4096)));
static _Atomic uint64_t used;
/* Where the first free block of a class begins, in units, and a count against ABA above. */
static _Atomic uint64_t lists[CLASSES];

static struct head *head_of(void *block) {
    return (struct head *)block - 1;
}

static struct head *at_unit(uint32_t unit) {
    return (struct head *)(room + (size_t)unit * UNIT);
}

static uint32_t class_of(size_t bytes) {
    uint32_t class = 0;
    while (((size_t)UNIT << class) < bytes)
        class++;
    return class;
}

static void *take(size_t size) {
    if (size > ROOM / 4) {
        errno = ENOMEM;
        return NULL;
    }
    uint32_t class = class_of(size + sizeof(struct head));
    uint64_t top = atomic_load(&lists[class]);
    while ((uint32_t)top != 0) {
        uint64_t next = ((top >> 32) + 1) << 32 | at_unit((uint32_t)top)->next;
        if (atomic_compare_exchange_weak(&lists[class], &top, next))
            return at_unit((uint32_t)top) + 1;
    }
    uint64_t bytes = (uint64_t)UNIT << class;
    /* Unit 0 is none. */
    uint64_t at = atomic_fetch_add(&used, bytes) + UNIT;
    if (at + bytes > ROOM) {
        errno = ENOMEM;
        return NULL;
    }
    struct head *head = (struct head *)(room + at);
    head->class = class;
    head->base = (uint64_t)(uintptr_t)head;
    return head + 1;
}

void *malloc(size_t size) {
    return take(size);
}

void free(void *block) {
    if (block == NULL)
        return;
    struct head *head = (struct head *)(uintptr_t)head_of(block)->base;
    uint32_t unit = (uint32_t)(((char *)head - room) / UNIT);
    uint64_t top = atomic_load(&lists[head->class]);
    do
        head->next = (uint32_t)top;
    while (!atomic_compare_exchange_weak(&lists[head->class], &top,
                                         ((top >> 32) + 1) << 32 | unit));
}

/* Called at the next question, once. */
void (*volatile when_asked)(void);

static size_t usable_size(void *block) {
    struct head *head = (struct head *)(uintptr_t)head_of(block)->base;
    return (size_t)((char *)head + ((size_t)UNIT << head->class) - (char *)block);
}

size_t malloc_usable_size(void *block) {
    void (*call)(void) = when_asked;
    if (call != NULL) {
        when_asked = NULL;
        call();
    }
    return block == NULL ? 0 : usable_size(block);
}

void *calloc(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    void *block = take(bytes);
    return block ? memset(block, 0, bytes) : NULL;
}

void *realloc(void *block, size_t size) {
    if (block != NULL && size <= usable_size(block))
        return block;
    void *moved = take(size);
    if (moved != NULL && block != NULL) {
        memcpy(moved, block, usable_size(block));
        free(block);
    }
    return moved;
}

void *memalign(size_t alignment, size_t size) {
    char *block = take(size + alignment);
    if (block == NULL || (uintptr_t)block % alignment == 0)
        return block;
    uint64_t base = head_of(block)->base;
    block += alignment - (uintptr_t)block % alignment;
    head_of(block)->base = base;
    return block;
}

void *aligned_alloc(size_t alignment, size_t size) {
    return memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size) {
    void *block = memalign(alignment, size);
    if (block == NULL)
        return ENOMEM;
    *out = block;
    return 0;
}
