/* An allocator that splits free pieces and never merges them, as small ones for WebAssembly do: free
 * pieces are a list, the last one freed first, and the first that is large enough is taken. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { UNIT = 16, LEAST_BYTES = 32 };
#define ROOM_BYTES ((size_t)4 << 30)

/* In front of each block. */
struct piece {
    size_t bytes;
    struct piece *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct piece *list;
static char *next, *end;

static struct piece *piece_of(void *block) { return (struct piece *)block - 1; }

static void *fresh(size_t bytes) {
    if (!next) {
        next = mmap(NULL, ROOM_BYTES, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        end = next + ROOM_BYTES;
    }
    if (next == MAP_FAILED || (size_t)(end - next) < bytes + sizeof(struct piece))
        return NULL;
    struct piece *piece = (struct piece *)next;
    next += sizeof *piece + bytes;
    piece->bytes = bytes;
    return piece + 1;
}

static void *take(size_t bytes) {
    for (struct piece **at = &list; *at; at = &(*at)->next) {
        struct piece *piece = *at;
        if (piece->bytes < bytes)
            continue;
        *at = piece->next;
        if (piece->bytes >= bytes + sizeof *piece + LEAST_BYTES) {
            struct piece *rest = (struct piece *)((char *)(piece + 1) + bytes);
            rest->bytes = piece->bytes - bytes - sizeof *rest;
            rest->next = *at;
            *at = rest;
            piece->bytes = bytes;
        }
        return piece + 1;
    }
    return fresh(bytes);
}

void *malloc(size_t size) {
    size_t bytes = size < LEAST_BYTES ? LEAST_BYTES : (size + UNIT - 1) & ~(size_t)(UNIT - 1);
    if (size > ROOM_BYTES) {
        errno = ENOMEM;
        return NULL;
    }
    pthread_mutex_lock(&lock);
    void *block = take(bytes);
    pthread_mutex_unlock(&lock);
    return block;
}

void free(void *block) {
    if (!block)
        return;
    pthread_mutex_lock(&lock);
    piece_of(block)->next = list;
    list = piece_of(block);
    pthread_mutex_unlock(&lock);
}

size_t malloc_usable_size(void *block) { return block ? piece_of(block)->bytes : 0; }

void *calloc(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    void *block = malloc(bytes);
    return block ? memset(block, 0, bytes) : NULL;
}

void *realloc(void *old, size_t size) {
    void *block = malloc(size);
    size_t kept = malloc_usable_size(old);
    if (!block || !old)
        return block;
    memcpy(block, old, kept < size ? kept : size);
    free(old);
    return block;
}

/* Nobody here asks for more than this. */
void *memalign(size_t alignment, size_t size) { return alignment <= UNIT ? malloc(size) : NULL; }
void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }
int posix_memalign(void **out, size_t alignment, size_t size) {
    *out = memalign(alignment, size);
    return *out ? 0 : ENOMEM;
}
