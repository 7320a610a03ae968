/* An allocator whose first call is the hardest: it asks the loader, the C library and its own
 * functions by name before it can serve anything. Blocks are cut off a fixed room and never given
 * again. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char room[48 << 20] __attribute__((aligned(4096)));
static _Atomic size_t used;
static atomic_int state;
static void *at_start[4];

/* Its size stands before each block. */
static void *cut(size_t alignment, size_t size) {
    size_t before = alignment > 16 ? alignment : 16;
    size_t bytes = (size + before + alignment + 15) & ~(size_t)15;
    if (size > sizeof room)
        return NULL;
    size_t at = atomic_fetch_add(&used, bytes);
    if (at + bytes > sizeof room) {
        errno = ENOMEM;
        return NULL;
    }
    uintptr_t block = ((uintptr_t)room + at + before + alignment - 1) & ~(alignment - 1);
    ((size_t *)block)[-1] = size;
    return (void *)block;
}

static void *made_key(void *unused) {
    return unused;
}

static void begin(void) {
    int fresh = 0;
    char text[64];
    pthread_key_t key;
    if (!atomic_compare_exchange_strong(&state, &fresh, 1))
        return;
    at_start[0] = dlsym(RTLD_NEXT, "malloc");
    at_start[1] = malloc(64);
    at_start[2] = calloc(4, 100);
    free(at_start[1]);
    at_start[3] = realloc(at_start[2], 2000);
    if (getenv("BOOTSTRAP"))
        abort();
    pthread_key_create(&key, (void (*)(void *))made_key);
    pthread_setspecific(key, at_start[3]);
    int fd = open("/proc/self/stat", O_RDONLY);
    if (fd >= 0 && read(fd, text, sizeof text) > 0)
        close(fd);
    void *map = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map != MAP_FAILED) {
        madvise(map, 1 << 16, MADV_DONTNEED);
        munmap(map, 1 << 16);
    }
}

void *malloc(size_t size) {
    begin();
    return cut(16, size);
}

void free(void *block) {
    (void)block;
}

void *calloc(size_t count, size_t size) {
    size_t bytes;
    begin();
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return cut(16, bytes);
}

void *memalign(size_t alignment, size_t size) {
    begin();
    return cut(alignment > 16 ? alignment : 16, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    return memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size) {
    void *block = memalign(alignment, size);
    if (block)
        *out = block;
    return block ? 0 : ENOMEM;
}

void *realloc(void *old, size_t size) {
    begin();
    void *block = cut(16, size);
    if (block && old) {
        size_t before = ((size_t *)old)[-1];
        memcpy(block, old, before < size ? before : size);
    }
    return block;
}

size_t malloc_usable_size(void *block) {
    return block ? ((size_t *)block)[-1] : 0;
}
