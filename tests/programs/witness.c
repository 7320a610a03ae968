/* A second count of what a process asks of its allocator, made the plainest way there is: one
 * table, one lock. It shares no code and no idea with the tracer. Preloaded before the tracer it
 * sees what the program asks; behind it, what the tracer passes on. Both must be the same.
 *
 * The counters lie in a mapped file, so that they outlive every kind of end. Only the process
 * that creates the file counts: its children find it there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct counters {
    uint64_t allocs, frees, reallocs, live_blocks, live_bytes, usable_bytes, peak_live_bytes;
    uint64_t overflowed;
};

struct entry {
    uintptr_t block;
    uint64_t size, usable;
};

enum { ENTRIES = 1 << 20 };

static struct counters *counters;
static struct entry *table;

/* 1 in the process that counts; the kernel wipes it in a child. */
static volatile uint64_t *active;

static atomic_flag lock = ATOMIC_FLAG_INIT;

static void *(*next_malloc)(size_t);
static void *(*next_calloc)(size_t, size_t);
static void *(*next_realloc)(void *, size_t);
static void *(*next_reallocarray)(void *, size_t, size_t);
static void (*next_free)(void *);
static int (*next_posix_memalign)(void **, size_t, size_t);
static void *(*next_aligned_alloc)(size_t, size_t);
static void *(*next_memalign)(size_t, size_t);
static void *(*next_valloc)(size_t);
static void *(*next_pvalloc)(size_t);
static size_t (*next_usable_size)(void *);

/* An allocator may serve one call through another that it calls by name, as glibc's reallocarray
 * calls realloc: only the outermost call counts. */
static __attribute__((tls_model("initial-exec"))) __thread unsigned inside;

/* dlsym before glibc 2.34 takes a block for its own use before it has found anything. */
static char early[4096];
static size_t early_used;

static int counting(void) {
    return counters && *active;
}

static void *map(size_t bytes, int flags, int file) {
    void *mapped = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, file, 0);
    return mapped == MAP_FAILED ? NULL : mapped;
}

static void prepare(void) {
    static int done;
    if (done)
        return;
    done = 1;
    next_malloc = dlsym(RTLD_NEXT, "malloc");
    next_free = dlsym(RTLD_NEXT, "free");
    next_calloc = dlsym(RTLD_NEXT, "calloc");
    next_realloc = dlsym(RTLD_NEXT, "realloc");
    next_reallocarray = dlsym(RTLD_NEXT, "reallocarray");
    next_posix_memalign = dlsym(RTLD_NEXT, "posix_memalign");
    next_aligned_alloc = dlsym(RTLD_NEXT, "aligned_alloc");
    next_memalign = dlsym(RTLD_NEXT, "memalign");
    next_valloc = dlsym(RTLD_NEXT, "valloc");
    next_pvalloc = dlsym(RTLD_NEXT, "pvalloc");
    next_usable_size = dlsym(RTLD_NEXT, "malloc_usable_size");

    const char *path = getenv(VARIABLE);
    int file = path ? open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    if (file < 0)
        return;
    int private = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    active = map(4096, private, -1);
    table = map(ENTRIES * sizeof *table, private, -1);
    if (active && table && madvise((void *)active, 4096, MADV_WIPEONFORK) == 0 &&
        ftruncate(file, sizeof *counters) == 0)
        counters = map(sizeof *counters, MAP_SHARED, file);
    if (counters)
        *active = 1;
    close(file);
}

__attribute__((constructor)) static void at_start(void) {
    prepare();
}

static void enter(void) {
    while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire))
        sched_yield();
}

static void leave(void) {
    atomic_flag_clear_explicit(&lock, memory_order_release);
}

static size_t home(uintptr_t block) {
    return (size_t)((block >> 4) * 0x9e3779b97f4a7c15u >> 44) % ENTRIES;
}

static void insert(uintptr_t block, uint64_t size, uint64_t usable) {
    size_t at = home(block);
    if (counters->live_blocks > ENTRIES / 2) {
        counters->overflowed = 1;
        return;
    }
    while (table[at].block)
        at = (at + 1) % ENTRIES;
    table[at] = (struct entry){block, size, usable};
    counters->live_blocks++;
    counters->usable_bytes += usable;
    counters->live_bytes += size;
    if (counters->live_bytes > counters->peak_live_bytes)
        counters->peak_live_bytes = counters->live_bytes;
}

/* Takes an entry out and closes the gap: entries after it move back where they may. */
static struct entry take(uintptr_t block) {
    size_t at = home(block);
    while (table[at].block && table[at].block != block)
        at = (at + 1) % ENTRIES;
    struct entry found = table[at];
    if (!found.block)
        return found;
    for (size_t next = (at + 1) % ENTRIES; table[next].block; next = (next + 1) % ENTRIES) {
        size_t distance = (next - home(table[next].block)) % ENTRIES;
        if (distance >= (next - at) % ENTRIES) {
            table[at] = table[next];
            at = next;
        }
    }
    table[at].block = 0;
    counters->live_blocks--;
    counters->live_bytes -= found.size;
    counters->usable_bytes -= found.usable;
    return found;
}

static void *acquired(void *block, uint64_t size) {
    if (block && counting()) {
        uint64_t usable = next_usable_size(block);
        enter();
        counters->allocs++;
        insert((uintptr_t)block, size, usable);
        leave();
    }
    return block;
}

static struct entry releasing(void *block, int counted) {
    struct entry found = {0};
    if (block && counting()) {
        enter();
        counters->frees += (uint64_t)counted;
        found = take((uintptr_t)block);
        leave();
    }
    return found;
}

static void *resized(void *from, struct entry old, void *to, uint64_t size) {
    if (!counting())
        return to;
    uint64_t usable = to ? next_usable_size(to) : 0;
    enter();
    if (to) {
        counters->reallocs++;
        insert((uintptr_t)to, size, usable);
    } else if (size == 0) {
        counters->frees++;
    } else {
        insert((uintptr_t)from, old.size, old.usable);
    }
    leave();
    return to;
}

/* Forwards a call, and tells through `outermost` whether it counts. */
#define FORWARD(result, outermost, call) \
    int outermost = inside++ == 0;       \
    result = (call);                     \
    inside--

#define ACQUIRE(size, call)                 \
    prepare();                              \
    FORWARD(void *block, outermost, call);  \
    return outermost ? acquired(block, size) : block

void *malloc(size_t size) {
    ACQUIRE(size, next_malloc(size));
}

void *calloc(size_t count, size_t size) {
    prepare();
    if (!next_calloc) {
        size_t at = early_used;
        early_used += (count * size + 15) & ~(size_t)15;
        return early_used <= sizeof early ? early + at : NULL;
    }
    ACQUIRE(count * size, next_calloc(count, size));
}

void *aligned_alloc(size_t alignment, size_t size) {
    ACQUIRE(size, next_aligned_alloc(alignment, size));
}

void *memalign(size_t alignment, size_t size) {
    ACQUIRE(size, next_memalign(alignment, size));
}

void *valloc(size_t size) {
    ACQUIRE(size, next_valloc(size));
}

void *pvalloc(size_t size) {
    ACQUIRE(size, next_pvalloc(size));
}

int posix_memalign(void **block, size_t alignment, size_t size) {
    prepare();
    FORWARD(int error, outermost, next_posix_memalign(block, alignment, size));
    if (!error && outermost)
        acquired(*block, size);
    return error;
}

void free(void *block) {
    prepare();
    if ((char *)block >= early && (char *)block < early + sizeof early)
        return;
    if (inside == 0)
        releasing(block, 1);
    inside++;
    next_free(block);
    inside--;
}

void free_sized(void *block, size_t size) {
    (void)size;
    free(block);
}

void free_aligned_sized(void *block, size_t alignment, size_t size) {
    (void)alignment, (void)size;
    free(block);
}

/* The release half before the real call, the acquisition after it. */
#define RESIZE(size, call)                                               \
    prepare();                                                           \
    struct entry old = {0};                                              \
    if (inside == 0)                                                     \
        old = releasing(block, 0);                                       \
    FORWARD(void *to, outermost, call);                                  \
    if (!outermost)                                                      \
        return to;                                                       \
    return block ? resized(block, old, to, size) : acquired(to, size)

void *realloc(void *block, size_t size) {
    RESIZE(size, next_realloc(block, size));
}

void *reallocarray(void *block, size_t count, size_t size) {
    RESIZE(count * size, next_reallocarray(block, count, size));
}
