/* Random sequences of all calls that acquire and release blocks, with sizes, counts and
 * alignments that are ordinary, odd, zero, or too large. All that a caller can tell of each
 * answer goes into a sum: whether there is a block, its alignment, its usable bytes, what of its
 * content was kept or zeroed, and errno.
 *
 *   random_calls SEQUENCES SEED [usable] [pvalloc] [operators]
 *
 * A line for 100 sequences: the number of their last, the sum. `usable`: usable bytes count too,
 * where they do not depend on addresses. `pvalloc`: the allocator has it; the C library's would be
 * another's block. `operators`: C++'s, where the allocator brings its own. C23's sized frees are
 * called where there are any. No sequence does what has no defined answer. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#include "answer.h"

enum { SLOTS = 24, CALLS = 40, A_LINE = 100, MARKED = 64 };

/* In libstdc++, or in allocators that have their own; std::nothrow is an empty object. */
void *_Znwm(size_t) __attribute__((weak));
void *_ZnamRKSt9nothrow_t(size_t, const void *) __attribute__((weak));
void *_ZnwmRKSt9nothrow_t(size_t, const void *) __attribute__((weak));
void _ZdlPv(void *) __attribute__((weak));
void _ZdlPvm(void *, size_t) __attribute__((weak));
void free_sized(void *, size_t) __attribute__((weak));
void free_aligned_sized(void *, size_t, size_t) __attribute__((weak));

struct block {
    unsigned char *at;
    size_t size, alignment;
    enum { PLAIN, ALIGNED, OPERATOR } from;
    unsigned char mark;
};

static struct block slots[SLOTS];
static uint64_t sum;
static int with_usable, with_pvalloc, with_operators;

static void count(uint64_t value) {
    sum = (sum ^ value) * 0x100000001b3u;
    sum ^= sum >> 29;
}

static size_t random_size(void) {
    uint64_t random = next_random();
    switch (random % 16) {
    case 0:
        return 0;
    case 1:
        return SIZE_MAX - (random >> 32) % 4200;
    case 2:
        return (size_t)PTRDIFF_MAX + 1 - (random >> 32) % 8;
    case 3:
        return (random >> 32) % 1500000;
    case 4:
    case 5:
        return (size_t)1 << (random >> 32) % 17;
    default:
        return (random >> 32) % 2100;
    }
}

static size_t any_alignment(void) {
    static const size_t odd[] = {0, 1, 2, 3, 4, 6, 12, 24, 48, 100, 4097, SIZE_MAX, SIZE_MAX / 2 + 2};
    uint64_t random = next_random();
    return random % 4 ? (size_t)1 << (random >> 32) % 15 : odd[(random >> 32) % 13];
}

static size_t good_alignment(void) {
    return (size_t)8 << next_random() % 12;
}

static size_t marked_bytes(size_t size) {
    return size < MARKED ? size : MARKED;
}

static void mark(struct block *block) {
    block->mark = (unsigned char)next_random();
    memset(block->at, block->mark, marked_bytes(block->size));
}

/* How many of the first bytes are as they were. */
static size_t kept_bytes(const struct block *block, size_t bytes) {
    size_t kept = 0;
    while (kept < bytes && block->at[kept] == block->mark)
        kept++;
    return kept;
}

static void taken(struct block *slot, void *at, size_t size, size_t alignment, int from, int error) {
    count(at != NULL);
    count((uint64_t)error);
    *slot = (struct block){0};
    if (at == NULL)
        return;
    *slot = (struct block){at, size, alignment, from, 0};
    if (alignment != 0 && (alignment & (alignment - 1)) == 0)
        count((uintptr_t)at % alignment == 0);
    size_t usable = malloc_usable_size(at);
    count(usable >= size);
    if (with_usable && alignment <= 4096)
        count(usable);
    mark(slot);
}

/* All ways to give a block back that its origin allows. */
static void release(struct block *slot) {
    uint64_t how = next_random() % 4;
    if (slot->at)
        count(kept_bytes(slot, marked_bytes(slot->size)));
    errno = 12345;
    if (slot->from == OPERATOR && slot->at && how == 0 && _ZdlPvm) {
        _ZdlPvm(slot->at, slot->size);
    } else if (slot->from == OPERATOR && slot->at) {
        _ZdlPv(slot->at);
    } else if (slot->from == PLAIN && how == 1 && free_sized) {
        free_sized(slot->at, slot->size);
    } else if (slot->from == ALIGNED && how == 1 && free_aligned_sized) {
        free_aligned_sized(slot->at, slot->alignment, slot->size);
    } else if (slot->from == PLAIN && how == 2 && slot->at) {
        /* glibc answers with none; others with a block of no bytes. */
        void *empty = realloc(slot->at, 0);
        count(empty != NULL);
        free(empty);
    } else {
        free(slot->at);
    }
    count((uint64_t)errno);
    *slot = (struct block){0};
}

/* A block that changes its size; where that fails, it is as it was. */
static void resize(struct block *slot, size_t times, size_t size) {
    size_t bytes, before = slot->size;
    int overflows = __builtin_mul_overflow(times, size, &bytes);
    if (slot->from == OPERATOR || (!overflows && bytes == 0))
        return;
    errno = 12345;
    void *at = times == 1 ? realloc(slot->at, size) : reallocarray(slot->at, times, size);
    int error = errno;
    count(at != NULL);
    count((uint64_t)error);
    if (at == NULL) {
        if (slot->at)
            count(kept_bytes(slot, marked_bytes(slot->size)));
        return;
    }
    slot->at = at;
    if (before)
        count(kept_bytes(slot, marked_bytes(before < bytes ? before : bytes)));
    taken(slot, at, bytes, 1, PLAIN, error);
}

static void zeroed(struct block *slot, size_t times, size_t size) {
    errno = 12345;
    unsigned char *at = calloc(times, size);
    int error = errno;
    size_t nonzero = 0, bytes = times * size;
    for (size_t i = 0; at && i < bytes && i < 5000; i++)
        nonzero += at[i] != 0;
    count(nonzero);
    taken(slot, at, bytes, 1, PLAIN, error);
}

static void posix_aligned(struct block *slot, size_t alignment, size_t size) {
    void *at = slot;
    errno = 12345;
    int answer = posix_memalign(&at, alignment, size);
    int error = errno;
    count((uint64_t)answer);
    count(answer && at != slot);
    taken(slot, answer ? NULL : at, size, alignment, ALIGNED, error);
}

static void *page_rounded(size_t size) {
#ifdef __GLIBC__
    return pvalloc(size);
#else
    return valloc(size);
#endif
}

static void call(struct block *slot) {
    size_t size = random_size(), alignment = good_alignment(), times = next_random() % 5;
    uint64_t which = next_random() % 16;
    if (slot->at && which < 5) {
        resize(slot, which == 0 ? times : 1, size);
        return;
    }
    if (slot->at) {
        release(slot);
        return;
    }
    errno = 12345;
    void *at;
    switch (which) {
    case 0:
        zeroed(slot, times, size);
        return;
    case 1:
        zeroed(slot, size, next_random() % 3);
        return;
    case 2:
        posix_aligned(slot, any_alignment(), size);
        return;
    case 3:
        at = aligned_alloc(alignment, size);
        taken(slot, at, size, alignment, ALIGNED, errno);
        return;
    case 4:
        at = memalign(alignment, size);
        taken(slot, at, size, alignment, ALIGNED, errno);
        return;
    case 5:
        at = valloc(size);
        taken(slot, at, size, 4096, ALIGNED, errno);
        return;
    case 6:
        at = with_pvalloc ? page_rounded(size) : NULL;
        taken(slot, at, size, 4096, ALIGNED, errno);
        return;
    case 7:
        resize(slot, times + 1, size);
        return;
    case 8:
        /* Too large a size would throw. */
        at = with_operators && _Znwm && size < PTRDIFF_MAX / 2 ? _Znwm(size) : NULL;
        taken(slot, at, size, 1, OPERATOR, errno);
        return;
    case 9:
        at = with_operators && _ZnwmRKSt9nothrow_t ? _ZnwmRKSt9nothrow_t(size, "") : NULL;
        taken(slot, at, size, 1, OPERATOR, errno);
        return;
    case 10:
        count(malloc_usable_size(NULL));
        free(NULL);
        count((uint64_t)errno);
        return;
    default:
        at = malloc(size);
        taken(slot, at, size, 1, PLAIN, errno);
    }
}

int main(int arguments_count, char **arguments) {
    unsigned long sequences = argument(arguments_count, arguments, 1, 100);
    random_state += argument(arguments_count, arguments, 2, 1) * 0x9e3779b97f4a7c15u;
    for (int i = 3; i < arguments_count; i++) {
        with_usable |= strcmp(arguments[i], "usable") == 0;
        with_pvalloc |= strcmp(arguments[i], "pvalloc") == 0;
        with_operators |= strcmp(arguments[i], "operators") == 0;
    }
    for (unsigned long sequence = 0; sequence < sequences; sequence++) {
        for (int i = 0; i < CALLS; i++)
            call(&slots[next_random() % SLOTS]);
        /* Half of the sequences go on with what others left. */
        for (int i = 0; sequence % 2 && i < SLOTS; i++)
            if (slots[i].at)
                release(&slots[i]);
        if (sequence % A_LINE == A_LINE - 1 || sequence == sequences - 1) {
            put_number(sequence);
            put_text(" ");
            put_number(sum);
            put_text("\n");
        }
    }
    flush_answers();
    return 0;
}
