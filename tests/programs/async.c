/* The pattern of an async server, as published: 500,000 requests, each with 2 to 5 new
 * blocks of 128 B to 16 KiB, most of them short-lived, some for up to 2,000 requests; then all
 * goes. It tells its own sum and the kernel's figures under load, and after the drop. */
#define _GNU_SOURCE
#include <malloc.h>
#include <stdlib.h>

#include "checkpoint.h"

enum { REQUESTS = 500000, LONGEST = 2000, SLOTS = 2048, MOST_AT_ONCE = 64, LOADS = 5, LOOKS = 6 };

struct kept {
    void *block;
    size_t size;
};

/* Blocks by the request at which they go, modulo SLOTS. */
static struct kept due[SLOTS][MOST_AT_ONCE];
static int count_due[SLOTS];
static uint64_t live, usable;

static void release(int slot) {
    for (int i = 0; i < count_due[slot]; i++) {
        live -= due[slot][i].size;
        usable -= malloc_usable_size(due[slot][i].block);
        free(due[slot][i].block);
    }
    count_due[slot] = 0;
}

static void request(int number) {
    release(number % SLOTS);
    for (uint64_t i = 0, blocks = 2 + next_random() % 4; i < blocks; i++) {
        size_t size = (size_t)128 << next_random() % 8;
        int short_lived = next_random() % 10 < 7;
        uint64_t life = short_lived ? 1 + next_random() % 20 : 100 + next_random() % (LONGEST - 99);
        int slot = (int)((uint64_t)number + life) % SLOTS;
        struct kept *at = &due[slot][count_due[slot]++];
        if (count_due[slot] > MOST_AT_ONCE)
            _exit(99);
        at->block = malloc(size);
        at->size = size;
        memset(at->block, 1, size);
        live += size;
        usable += malloc_usable_size(at->block);
    }
}

static void checkpoint(const char *when) {
    uint64_t from_ns = hold_still(LOOKS);
    answer_of(when, "live_bytes", live);
    answer_of(when, "usable_bytes", usable);
    tell_kernels_view(when);
    stay_still(when, from_ns);
}

int main(void) {
    checkpoint("begin");
    for (int load = 0; load < LOADS; load++) {
        char when[] = "load0";
        for (int number = 0; number < REQUESTS / LOADS; number++)
            request(load * (REQUESTS / LOADS) + number);
        when[4] = (char)('1' + load);
        checkpoint(when);
    }
    for (int slot = 0; slot < SLOTS; slot++)
        release(slot);
    checkpoint("dropped");
    return 0;
}
