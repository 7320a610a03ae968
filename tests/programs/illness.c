/* A heap with one illness, or the same program cured of it.
 *
 *   illness NAME [cured]
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <stdlib.h>

#include "answer.h"

enum { COUNT = 12000, PAGES = 4000, LARGE_COUNT = 2900, LARGE = 16000, REST_US = 300000 };

static void *kept[COUNT], *gone[COUNT];

/* A macro, so that the site is the function that uses it. */
#define filled(size) memset(malloc(size), 1, size)

__attribute__((noinline)) static void *open_session(void) {
    void *session = filled(64);
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

/* A session on every page that a request came to. Cured: all sessions in one piece. */
static void pinned_pages(int cured) {
    char *slab = cured ? filled(COUNT * 64) : NULL;
    for (int i = 0; i < COUNT; i++) {
        kept[i] = cured ? slab + i * 64 : open_session();
        gone[i] = begin_request(PAGES);
    }
    end_requests(COUNT);
}

/* A large block that is freed raises the trim threshold beyond what follows. Cured: trimmed. */
static void retained_after_burst(int cured) {
    free(filled(30 << 20));
    for (int i = 0; i < LARGE_COUNT; i++)
        gone[i] = begin_request(LARGE);
    end_requests(LARGE_COUNT);
    if (cured)
        malloc_trim(0);
}

/* Small blocks between large ones, freed first: they stay in fast bins, and keep the large ones
 * apart. Cured: merged and trimmed. */
static void cached_free_chunks(int cured) {
    for (int i = 0; i < COUNT; i++) {
        kept[i] = begin_request(64);
        gone[i] = begin_request(PAGES);
    }
    for (int i = 0; i < COUNT; i++)
        free(kept[i]);
    end_requests(COUNT);
    if (cured)
        malloc_trim(0);
}

/* A buffer allocated last lies at the end of the heap. Cured: allocated first. */
static void top_pinned(int cured) {
    if (cured)
        kept[0] = take_log_buffer();
    for (int i = 0; i < LARGE_COUNT; i++)
        gone[i] = begin_request(LARGE);
    if (!cured)
        kept[0] = take_log_buffer();
    end_requests(LARGE_COUNT);
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
    {"retained-after-burst", retained_after_burst},
    {"cached-free-chunks", cached_free_chunks},
    {"top-pinned", top_pinned},
    {"healthy", healthy},
};

int main(int count, char **words) {
    for (size_t i = 0; i < sizeof illnesses / sizeof *illnesses; i++)
        if (count > 1 && strcmp(illnesses[i].name, words[1]) == 0)
            illnesses[i].act(count > 2);
    /* What a program does in the end is judged only after a while. */
    usleep(REST_US);
    return 0;
}
