/* Holes that are filled again and again beside holes that are not: pairs of a block of 2,000 bytes
 * and one that stays, then pairs of a block of 3,000 bytes and one that stays. The latter are freed
 * once and for all, the former are freed and taken again in each cycle. It tells a moment in the
 * middle, at which all of them are holes. Some allocators take more places in turn than there are
 * blocks: it tells how many, and makes sure that a block comes to each of them after that moment.
 */
#include <malloc.h>
#include <stdlib.h>
#include <time.h>

#include "answer.h"

enum { HOLES = 200, AGAIN = 2000, ONCE = 3000, CYCLES = 4, TOLD_CYCLE = 2, REST_US = 5000,
       MOST_PLACES = 1000 };

static char *again[HOLES], *once[HOLES], *stays[2 * HOLES];

static uint64_t now_unix_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static char *take(size_t size) {
    char *block = malloc(size);
    memset(block, 1, malloc_usable_size(block));
    return block;
}

struct places {
    char *at[MOST_PLACES];
    int count;
};

/* All that blocks came to, and what they came to after the moment. */
static struct places ever, later;

/* musl shifts a block within its place each time. */
static int is_same(char *place, char *other) {
    return place < other + AGAIN && other < place + AGAIN;
}

static void come_to(struct places *places, char *place) {
    int i = 0;
    while (i < places->count && !is_same(places->at[i], place))
        i++;
    if (i == MOST_PLACES)
        _exit(98);
    places->at[i] = place;
    places->count += i == places->count;
}

int main(void) {
    uint64_t moment_ns = 0;
    for (int i = 0; i < HOLES; i++)
        again[i] = take(AGAIN), stays[i] = take(AGAIN), come_to(&ever, again[i]);
    for (int i = 0; i < HOLES; i++)
        once[i] = take(ONCE), stays[HOLES + i] = take(AGAIN);
    for (int i = 0; i < HOLES; i++)
        free(once[i]);
    for (int cycle = 0; cycle < CYCLES; cycle++) {
        for (int i = 0; i < HOLES; i++)
            free(again[i]);
        usleep(REST_US);
        if (cycle == TOLD_CYCLE)
            moment_ns = now_unix_ns();
        usleep(REST_US);
        for (int i = 0; i < HOLES; i++) {
            again[i] = take(AGAIN);
            come_to(&ever, again[i]);
            if (moment_ns)
                come_to(&later, again[i]);
        }
    }
    if (later.count != ever.count)
        return 99;
    answer("holes", HOLES);
    answer("places", (uint64_t)ever.count);
    answer("again_bytes", malloc_usable_size(again[0]) + 8);
    /* The freed ones are as large as a block of their size would be. */
    answer("once_bytes", (ONCE + 8 + 15) / 16 * 16);
    answer("moment_unix_ns", moment_ns);
    flush_answers();
    return 0;
}
