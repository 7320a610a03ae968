/* A second opinion on call stacks: at acquisitions chosen at random, the stack as the C compiler's
 * own unwinder sees it; or with LIBUNWIND defined, as libunwind does, whose code is another. Preloaded
 * before the tracer, so that both see the same calls, this library one frame further in.
 *
 * Acquisitions are counted by thread; the n-th of a thread here is the n-th of the trace. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <unwind.h>
#ifdef LIBUNWIND
#define UNW_LOCAL_ONLY
#include <libunwind.h>
#endif

enum { FRAMES = 48, SAMPLES = 20000 };

/* Read by tests/src/stacks.rs. */
struct sample {
    uint32_t thread, frames;
    uint64_t number, address, size;
    uint64_t ips[FRAMES];
};

struct file {
    uint64_t samples;
    struct sample sample[SAMPLES];
};

static struct file *file;
static uint64_t one_in = 1;

#define PER_THREAD static __attribute__((tls_model("initial-exec"))) __thread
PER_THREAD uint64_t acquired;
PER_THREAD uint64_t random_state;
PER_THREAD unsigned inside;

static void *(*next_malloc)(size_t);
static void *(*next_calloc)(size_t, size_t);
static void *(*next_realloc)(void *, size_t);
static int (*next_posix_memalign)(void **, size_t, size_t);
static void *(*next_aligned_alloc)(size_t, size_t);
static void *(*next_memalign)(size_t, size_t);

static void prepare(void) {
    static int done;
    if (done)
        return;
    done = 1;
    next_malloc = dlsym(RTLD_NEXT, "malloc");
    next_calloc = dlsym(RTLD_NEXT, "calloc");
    next_realloc = dlsym(RTLD_NEXT, "realloc");
    next_posix_memalign = dlsym(RTLD_NEXT, "posix_memalign");
    next_aligned_alloc = dlsym(RTLD_NEXT, "aligned_alloc");
    next_memalign = dlsym(RTLD_NEXT, "memalign");
    const char *path = getenv("BACKTRACES");
    if (!path || !getenv("BACKTRACES_ONE_IN"))
        return;
    one_in = strtoull(getenv("BACKTRACES_ONE_IN"), NULL, 10);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    if (ftruncate(fd, sizeof *file) == 0)
        file = mmap(NULL, sizeof *file, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (file == MAP_FAILED)
        file = NULL;
    close(fd);
}

struct walk {
    uintptr_t first;
    struct sample *sample;
};

/* Takes the next frame; 0: that was the last one. */
static int take(struct walk *walk, uintptr_t ip) {
    /* The frames of this library come first. */
    if (walk->sample->frames == 0 && ip != walk->first)
        return 1;
    if (ip == 0 || walk->sample->frames == FRAMES)
        return 0;
    walk->sample->ips[walk->sample->frames++] = ip;
    return 1;
}

#ifdef LIBUNWIND
/* libunwind has its own functions under the names of the compiler's: loaded for nobody else, so that
 * the program's exceptions take their usual way. */
static int (*unwind_here)(unw_context_t *);
static int (*unwind_begin)(unw_cursor_t *, unw_context_t *);
static int (*unwind_step)(unw_cursor_t *);
static int (*unwind_register)(unw_cursor_t *, unw_regnum_t, unw_word_t *);

#define NAME(function) NAME_OF(function)
#define NAME_OF(function) #function

__attribute__((constructor)) static void load(void) {
    void *library = dlopen("libunwind.so.8", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        _exit(97);
    unwind_here = dlsym(library, NAME(UNW_ARCH_OBJ(getcontext)));
    unwind_begin = dlsym(library, NAME(unw_init_local));
    unwind_register = dlsym(library, NAME(unw_get_reg));
    unwind_step = dlsym(library, NAME(unw_step));
}

static int ready(void) { return unwind_step != NULL; }

static void walk_all(struct walk *walk) {
    unw_context_t context;
    unw_cursor_t cursor;
    unw_word_t ip;
    unwind_here(&context);
    unwind_begin(&cursor, &context);
    do
        unwind_register(&cursor, UNW_REG_IP, &ip);
    while (take(walk, ip) && unwind_step(&cursor) > 0);
}
#else
static _Unwind_Reason_Code frame(struct _Unwind_Context *context, void *data) {
    return take(data, _Unwind_GetIP(context)) ? _URC_NO_REASON : _URC_END_OF_STACK;
}

static int ready(void) { return 1; }

static void walk_all(struct walk *walk) { _Unwind_Backtrace(frame, walk); }
#endif

static int chosen(void) {
    if (random_state == 0)
        random_state = 0x9e3779b97f4a7c15u ^ (uint64_t)syscall(SYS_gettid);
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % one_in == 0;
}

static void *note(void *block, size_t size, void *caller) {
    if (!block)
        return block;
    acquired++;
    if (inside || !file || !ready() || !chosen())
        return block;
    uint64_t index = __atomic_fetch_add(&file->samples, 1, __ATOMIC_RELAXED);
    if (index >= SAMPLES)
        return block;
    int error = errno;
    inside++;
    struct sample *sample = &file->sample[index];
    sample->thread = (uint32_t)syscall(SYS_gettid);
    sample->number = acquired;
    sample->address = (uintptr_t)block;
    sample->size = size;
    struct walk walk = {(uintptr_t)caller, sample};
    walk_all(&walk);
    inside--;
    errno = error;
    return block;
}

#define NOTE(block, size) note(block, size, __builtin_return_address(0))

void *malloc(size_t size) {
    prepare();
    return NOTE(next_malloc(size), size);
}

void *calloc(size_t count, size_t size) {
    prepare();
    return NOTE(next_calloc(count, size), count * size);
}

void *realloc(void *block, size_t size) {
    prepare();
    return NOTE(next_realloc(block, size), size);
}

int posix_memalign(void **out, size_t alignment, size_t size) {
    prepare();
    int error = next_posix_memalign(out, alignment, size);
    if (!error)
        NOTE(*out, size);
    return error;
}

void *aligned_alloc(size_t alignment, size_t size) {
    prepare();
    return NOTE(next_aligned_alloc(alignment, size), size);
}

void *memalign(size_t alignment, size_t size) {
    prepare();
    return NOTE(next_memalign(alignment, size), size);
}
