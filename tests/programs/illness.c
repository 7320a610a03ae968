/* A heap with one illness, the same program cured of it, or something much like it that is none.
 *
 *   illness NAME [cured|near|stopping]
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>

#include "answer.h"
#include "pace.h"

enum { COUNT = 12000, PAGES = 4000, LARGE_COUNT = 2900, LARGE = 16000, REST_US = 300000 };
/* What is done over time is done in steps of so many. */
enum { STEP = 20, STEP_US = 4000 };

static void *kept[COUNT], *gone[COUNT];
static int rest = REST_US;
static int near;

/* A macro, so that the site is the function that uses it. */
#define filled(size) memset(malloc(size), 1, size)

__attribute__((noinline)) static void *open_session(void) {
    void *session = filled(64);
    return session;
}

__attribute__((noinline)) static void *open_long_session(size_t size) {
    void *session = filled(size);
    return session;
}

__attribute__((noinline)) static void *begin_request(size_t size) {
    void *request = filled(size);
    return request;
}

__attribute__((noinline)) static void *take_log_buffer(void) {
    void *buffer = filled(2000);
    return buffer;
}

static void end_requests(int count) {
    for (int i = 0; i < count; i++)
        free(gone[i]);
}

/* A session on every page that a request came to. Cured: all sessions in one piece. Near: sessions
 * and requests of about one size, so that pages stay half full. */
static void pinned_pages(int cured) {
    for (int i = 0; near && i < 2 * COUNT; i++) {
        open_long_session(1100);
        free(gone[i % COUNT]);
        gone[i % COUNT] = begin_request(1000);
    }
    if (near)
        return end_requests(COUNT);
    char *slab = cured ? filled(COUNT * 64) : NULL;
    for (int i = 0; i < COUNT; i++) {
        kept[i] = cured ? slab + i * 64 : open_session();
        gone[i] = begin_request(PAGES);
    }
    end_requests(COUNT);
}

/* Sessions and requests of one size, so that every allocator has them on the same pages; one in
 * eight stays. Cured: what stays is in one piece. Near: two in three stay. */
enum { ONE_SIZE = 500, MIXED = 90000 };

static void pinned_class(int cured) {
    static void *mixed[MIXED];
    if (cured)
        kept[0] = filled((MIXED / 8) * ONE_SIZE);
    for (int i = 0; i < MIXED; i++) {
        int stays = near ? i % 3 != 0 : i % 8 == 0;
        mixed[i] = stays ? NULL : begin_request(ONE_SIZE);
        if (stays && !cured)
            open_long_session(ONE_SIZE);
    }
    for (int i = 0; i < MIXED; i++)
        free(mixed[i]);
}

/* A large block that is freed raises the trim threshold beyond what follows. Cured: trimmed. Near:
 * more than half stays in use. */
static void retained_after_burst(int cured) {
    free(filled(30 << 20));
    for (int i = 0; i < LARGE_COUNT; i++)
        gone[i] = begin_request(LARGE);
    for (int i = near ? LARGE_COUNT * 6 / 10 : 0; i < LARGE_COUNT; i++)
        free(gone[i]);
    if (cured)
        malloc_trim(0);
}

/* Small blocks between large ones, freed first: they stay in fast bins, and keep the large ones
 * apart. Cured: merged and trimmed. Near: too few of them to keep anything apart. */
static void cached_free_chunks(int cured) {
    for (int i = 0; i < COUNT; i++) {
        kept[i] = near && i % 64 ? NULL : begin_request(64);
        gone[i] = begin_request(PAGES);
    }
    for (int i = 0; i < COUNT; i++)
        free(kept[i]);
    end_requests(COUNT);
    if (cured)
        malloc_trim(0);
}

/* A buffer allocated last lies at the end of the heap. Cured: allocated first. Near: early, and what
 * lies above it goes back. */
static void top_pinned(int cured) {
    if (cured)
        kept[0] = take_log_buffer();
    for (int i = 0; i < LARGE_COUNT; i++) {
        gone[i] = begin_request(LARGE);
        if (near && i == LARGE_COUNT / 10)
            kept[0] = take_log_buffer();
    }
    if (!cured && !near)
        kept[0] = take_log_buffer();
    end_requests(LARGE_COUNT);
}

/* A history that is never cut, beside work that comes and goes. Cured: the last ones only. Near:
 * nothing but a history, as of a program that loads its data. */
__attribute__((noinline)) static void *remember(void) {
    void *entry = filled(6000);
    return entry;
}

static void leak(int cured) {
    enum { BOUND = 3000 };
    for (int i = 0; i < COUNT; i++) {
        kept[i] = remember();
        if (cured && i >= BOUND)
            free(kept[i - BOUND]);
        for (int work = 0; !near && work < 2; work++)
            free(begin_request(500));
        if (i % STEP == 0)
            wait_until((uint64_t)i / STEP * STEP_US);
    }
    rest = 0;
}

/* Jobs that come faster than they are done, oldest first. Cured: whoever brings them waits while 500
 * are there. Near: they come only as fast once half of the time is over. */
static void backlog(int cured) {
    enum { ROOM = 500 };
    int done = 0;
    for (int i = 0; i < COUNT; i++) {
        kept[i] = remember();
        int waiting = near && i > COUNT / 2 ? COUNT / 6 : i / 3;
        if (cured && waiting > ROOM)
            waiting = ROOM;
        for (; done < i - waiting; done++)
            free(kept[done]);
        if (i % STEP == 0)
            wait_until((uint64_t)i / STEP * STEP_US);
    }
    rest = 0;
}

/* A cache that drops its oldest entries. Cured: with a smaller bound. Near: a table that is loaded once
 * and stays, beside work that comes and goes. */
static void cache_growth(int cured) {
    enum { LARGE_BOUND = 4000, SMALL_BOUND = 500 };
    int bound = cured ? SMALL_BOUND : LARGE_BOUND;
    for (int i = 0; i < COUNT; i++) {
        if (!near || i < LARGE_BOUND)
            kept[i] = remember();
        if (!near && i >= bound)
            free(kept[i - bound]);
        free(begin_request(500));
        if (i % STEP == 0)
            wait_until((uint64_t)i / STEP * STEP_US);
    }
    rest = 0;
}

/* What the kernel counts as given back lazily, and as in memory. */
static void look_at_memory(uint64_t *lazily_freed, uint64_t *resident) {
    char text[2048] = "";
    int file = open("/proc/self/smaps_rollup", O_RDONLY);
    ssize_t got = read(file, text, sizeof text - 1);
    const char *lazy = got > 0 ? strstr(text, "LazyFree:") : NULL;
    const char *rss = got > 0 ? strstr(text, "Rss:") : NULL;
    close(file);
    *lazily_freed = lazy ? strtoull(lazy + 9, NULL, 10) << 10 : 0;
    *resident = rss ? strtoull(rss + 4, NULL, 10) << 10 : 0;
}

/* A burst that the allocator gives back, by MADV_FREE where its settings say so. Cured: by
 * MADV_DONTNEED. Near: little of it. Where memory is short the kernel takes such pages at once, so it
 * tells what it was left with. */
static void lazy_free(int unused) {
    enum { LITTLE = 400, MOST = 44 << 20, LEAST = 16 << 20, LOOKS = 1000 };
    uint64_t lazily_freed = 0, resident = 0;
    (void)unused;
    for (int i = 0; i < COUNT; i++)
        gone[i] = begin_request(PAGES);
    for (int i = near ? COUNT - LITTLE : 0; i < COUNT; i++)
        free(gone[i]);
    for (int look = 0; look < LOOKS; look++) {
        usleep(20000);
        look_at_memory(&lazily_freed, &resident);
        if (near || lazily_freed > MOST || resident < LEAST)
            break;
    }
    answer("lazily_freed_bytes", lazily_freed);
    flush_answers();
}

/* Many tiny blocks. Cured: in one piece. Near: of a size that fits a class. */
__attribute__((noinline)) static void *make_node(void) {
    void *node = filled(near ? 24 : 9);
    return node;
}

static void size_class_slop(int cured) {
    enum { NODES = 2200000 };
    if (cured)
        kept[0] = filled(9 * NODES);
    else
        for (int i = 0; i < NODES; i++)
            kept[i % COUNT] = make_node();
}

/* Two threads fill arenas of their own at once with sessions among requests, and end the requests: one in
 * eight stays, so that each page is held. While they grow, the rest of the one's last page would nearly
 * always hold the next block of the other. */
enum { FULL = 20000 };
static pthread_barrier_t full;

static void *serve(void *unused) {
    void *mine[FULL];
    pthread_barrier_wait(&full);
    for (int i = 0; i < FULL; i++)
        mine[i] = i % 8 == 0 ? open_long_session(1000) : begin_request(1000);
    pthread_barrier_wait(&full);
    for (int i = 0; i < FULL; i++)
        if (i % 8 != 0)
            free(mine[i]);
    return unused;
}

static void pinned_arenas(int cured) {
    (void)cured;
    pthread_t threads[2];
    pthread_barrier_init(&full, NULL, 2);
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, serve, NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

/* A burst in each of eight threads that run at once; a few blocks of each stay. Cured: all in the
 * main arena. Near: most of what they made stays in use. */
enum { THREADS = 8, EACH = 1500 };
static pthread_barrier_t together;

static void *worker(void *unused) {
    void *mine[EACH];
    pthread_barrier_wait(&together);
    for (int i = 0; i < EACH; i++)
        mine[i] = begin_request(PAGES);
    filled(2000);
    pthread_barrier_wait(&together);
    for (int i = near ? EACH * 6 / 10 : 0; i < EACH; i++)
        free(mine[i]);
    return unused;
}

static void arena_proliferation(int cured) {
    pthread_t threads[THREADS];
    if (cured)
        mallopt(M_ARENA_MAX, 1);
    pthread_barrier_init(&together, NULL, THREADS);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, worker, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    if (cured)
        malloc_trim(0);
}

/* Bursts, each of blocks too large for the holes that the ones before left, and every third block
 * stays. Cured: what stays is taken first. Near: all of one size, so that holes are filled again. With
 * "stopping" all that stayed is freed in the end, as by a service that was told to stop. */
static void *stayed[COUNT];
static int stay_count, stopping;

static void rss_stairs(int cured) {
    static const size_t growing[] = {1000, 2300, 5200, 12000, 27000};
    static const size_t same[] = {1000, 1000, 1000, 1000, 1000};
    const size_t *sizes = near ? same : growing;
    enum { BURSTS = sizeof growing / sizeof *growing, BYTES = 10 << 20 };
    for (int burst = 0; cured && burst < BURSTS; burst++)
        for (size_t i = 0; i < BYTES / sizes[burst]; i += 3)
            open_long_session(sizes[burst]);
    /* Near, live bytes rise with each: so few that they do not fill the time, as a leak's blocks do. */
    for (int burst = 0; burst < (near ? 3 : BURSTS); burst++) {
        size_t count = BYTES / sizes[burst];
        for (size_t i = 0; i < count; i++)
            if (i % 3 != 2)
                gone[i] = begin_request(sizes[burst]);
            else if (!cured)
                stayed[stay_count++ % COUNT] = open_long_session(sizes[burst]);
        for (size_t i = 0; i < count; i++)
            if (i % 3 != 2)
                free(gone[i]);
        usleep(500000);
    }
    /* Time in which it is only there: freeing is to be short beside it, on a busy machine, too. */
    usleep(stopping ? 2000000 : 0);
    for (int i = 0; stopping && i < stay_count; i++)
        free(stayed[i]);
    rest = stopping ? 0 : rest;
}

/* All that was allocated is in use. */
static void healthy(int unused) {
    (void)unused;
    for (int i = 0; i < COUNT; i++)
        kept[i] = begin_request(PAGES);
    for (int round = 0; round < COUNT; round++) {
        free(kept[round]);
        kept[round] = begin_request(PAGES);
    }
}

static const struct {
    const char *name;
    void (*act)(int cured);
} illnesses[] = {
    {"pinned-pages", pinned_pages},
    {"pinned-class", pinned_class},
    {"retained-after-burst", retained_after_burst},
    {"cached-free-chunks", cached_free_chunks},
    {"top-pinned", top_pinned},
    {"leak", leak},
    {"backlog", backlog},
    {"cache-growth", cache_growth},
    {"lazy-free", lazy_free},
    {"size-class-slop", size_class_slop},
    {"arena-proliferation", arena_proliferation},
    {"pinned-arenas", pinned_arenas},
    {"rss-stairs", rss_stairs},
    {"healthy", healthy},
};

int main(int count, char **words) {
    stopping = count > 2 && strcmp(words[2], "stopping") == 0;
    near = count > 2 && strcmp(words[2], "near") == 0;
    for (size_t i = 0; i < sizeof illnesses / sizeof *illnesses; i++)
        if (count > 1 && strcmp(illnesses[i].name, words[1]) == 0)
            illnesses[i].act(count > 2 && strcmp(words[2], "cured") == 0);
    /* What a program does in the end is judged only after a while. */
    usleep(rest);
    return 0;
}
