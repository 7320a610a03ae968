/* Prints where its blocks lie, for runs without address randomisation.
 *
 *   addresses brk      blocks of the brk heap: their whole addresses
 *   addresses mapped   blocks with mappings of their own as well: their offset in the mapping
 *   addresses arenas   threads that take turns and free each other's blocks: offset in the arena's heap
 *   addresses calls    what mmap and its family answer to hints, flags and mistakes
 */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "answer.h"

enum { SLOTS = 512, THREADS = 6, OWN_MAPPING = 2, OTHER_ARENA = 4, PAGE = 4096 };
#define ARENA_HEAP ((uintptr_t)64 << 20)

static void *slots[SLOTS];

/* glibc marks in the word before a block where it comes from: 2 a mapping of its own, 4 an arena
 * other than the main one. */
static void put_place(void *block) {
    uintptr_t address = (uintptr_t)block;
    uint64_t size_word = ((uint64_t *)block)[-1];
    if (size_word & OWN_MAPPING) {
        put_text("mapping+");
        put_address(address % PAGE);
    } else if (size_word & OTHER_ARENA) {
        put_text("arena+");
        put_address(address % ARENA_HEAP);
    } else {
        put_address(address);
    }
    put_text(" usable ");
    put_number(malloc_usable_size(block));
}

static void line(const char *call, uint64_t size, void *block) {
    put_text(call);
    put_text(" ");
    put_number(size);
    put_text(" at ");
    if (block)
        put_place(block);
    else
        put_text("nowhere");
    put_text("\n");
}

static size_t some_size(size_t most) {
    uint64_t random = next_random();
    size_t limit = random % 4 ? (most < 2000 ? most : 2000) : most;
    return 1 + (random >> 8) % limit;
}

static void step(size_t most) {
    size_t at = next_random() % SLOTS;
    size_t size = some_size(most);
    uint64_t choice = next_random() % 16;
    if (slots[at] && choice < 10) {
        free(slots[at]);
        slots[at] = NULL;
    } else if (slots[at]) {
        line("realloc", size, slots[at] = realloc(slots[at], size));
    } else if (choice < 2) {
        line("calloc", size, slots[at] = calloc(1, size));
    } else if (choice < 3) {
        line("memalign", size, slots[at] = memalign(256, size));
    } else {
        line("malloc", size, slots[at] = malloc(size));
    }
}

static atomic_int turn;
static pthread_barrier_t all_done;

static void *in_turns(void *number) {
    int mine = (int)(intptr_t)number;
    for (int round = 0; round < 1500; round++) {
        while (atomic_load(&turn) != mine)
            sched_yield();
        for (int i = 0; i < 4; i++)
            step(60000);
        atomic_store(&turn, (mine + 1) % THREADS);
    }
    /* A thread that ends gives its cached blocks back while others would still take theirs. */
    pthread_barrier_wait(&all_done);
    return NULL;
}

static void arenas(void) {
    pthread_t threads[THREADS];
    pthread_barrier_init(&all_done, NULL, THREADS);
    for (intptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, in_turns, (void *)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void result(const char *call, intptr_t value) {
    put_text(call);
    put_text(value < 0 ? ": error " : ": ok ");
    put_number(value < 0 ? (uint64_t)errno : (uint64_t)value);
    put_text("\n");
    errno = 12345;
}

static void placed(const char *call, void *wanted, void *got) {
    put_text(call);
    put_text(got == MAP_FAILED ? ": failed, error " : got == wanted ? ": as hinted, errno " : ": elsewhere, errno ");
    put_number((uint64_t)errno);
    put_text("\n");
    errno = 12345;
}

static void calls(void) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    /* A range that is surely free: reserved, then given back. */
    char *hint = mmap(NULL, 64 * PAGE, PROT_NONE, flags | MAP_NORESERVE, -1, 0);
    char *other = mmap(NULL, 64 * PAGE, PROT_NONE, flags | MAP_NORESERVE, -1, 0);
    errno = 12345;
    result("munmap", munmap(hint, 64 * PAGE));
    placed("mmap hint", hint, mmap(hint, 4 * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0));
    placed("mmap taken hint", hint, mmap(hint, 4 * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0));
    placed("mmap fixed", hint, mmap(hint, 2 * PAGE, PROT_READ, flags | MAP_FIXED, -1, 0));
    placed("mmap fixed, no replace", hint, mmap(hint, PAGE, PROT_READ, flags | MAP_FIXED_NOREPLACE, -1, 0));
    placed("mmap64 fixed", hint, mmap64(hint, 4 * PAGE, PROT_READ | PROT_WRITE, flags | MAP_FIXED, -1, 0));
    placed("mmap length 0", hint, mmap(NULL, 0, PROT_READ, flags, -1, 0));
    placed("mmap no flags", hint, mmap(NULL, PAGE, PROT_READ, 0, -1, 0));
    placed("mmap bad file", hint, mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, 9999, 0));
    placed("mremap shrink", hint, mremap(hint, 4 * PAGE, 2 * PAGE, 0));
    placed("mremap grow", hint, mremap(hint, 2 * PAGE, 8 * PAGE, 0));
    placed("mremap fixed", other, mremap(hint, 8 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, other));
    placed("mremap of nothing", hint, mremap(hint, PAGE, 2 * PAGE, MREMAP_MAYMOVE));
    placed("mremap bad flags", hint, mremap(other, PAGE, PAGE, 999));
    result("madvise", madvise(other, PAGE, MADV_DONTNEED));
    result("madvise unaligned", madvise(other + 1, PAGE, MADV_DONTNEED));
    result("madvise bad advice", madvise(other, PAGE, 9999));
    result("madvise of nothing", madvise(hint, PAGE, MADV_DONTNEED));
    result("posix_madvise", posix_madvise(other, PAGE, POSIX_MADV_DONTNEED));
    result("posix_madvise bad advice", posix_madvise(other, PAGE, 9999));
    result("munmap unaligned", munmap(other + 1, PAGE));
    result("munmap length 0", munmap(other, 0));
    result("munmap twice", munmap(other, 64 * PAGE));
    result("munmap twice", munmap(other, 64 * PAGE));

    char *brk_start = sbrk(0);
    put_text("break at ");
    put_address((uintptr_t)brk_start);
    put_text("\n");
    placed("sbrk up", brk_start, sbrk(3 * PAGE));
    placed("sbrk again", brk_start + 3 * PAGE, sbrk(0));
    placed("sbrk down", brk_start + 3 * PAGE, sbrk(-3 * PAGE));
    placed("sbrk too far", brk_start, sbrk(PTRDIFF_MAX));
    result("brk", brk(brk_start + PAGE));
    placed("sbrk after brk", brk_start + PAGE, sbrk(0));
    result("brk to 0", brk(NULL));
    line("malloc", 1000, malloc(1000));
}

int main(int count, char **arguments) {
    const char *mode = count > 1 ? arguments[1] : "brk";
    if (strcmp(mode, "calls") == 0)
        calls();
    else if (strcmp(mode, "arenas") == 0)
        arenas();
    else
        for (int i = 0; i < 20000; i++)
            step(strcmp(mode, "mapped") == 0 && i % 8 == 0 ? 6 << 20 : 60000);
    flush_answers();
    return 0;
}
