/* Makes holes of known size and place on whatever allocator: of blocks in the order of their addresses
 * every second one is freed. A hole goes from the end of the block below to the next block; it tells
 * how many there are, and what their addresses and sizes come to.
 *
 *   holes_anywhere SIZE
 */
#include <malloc.h>
#include <stdlib.h>

#include "answer.h"

enum { BLOCKS = 2001, GRANULE = 8 };

static char *blocks[BLOCKS];

/* Without qsort, which may take a block. */
static void sort(void) {
    for (int gap = BLOCKS / 2; gap > 0; gap /= 2)
        for (int i = gap; i < BLOCKS; i++) {
            char *block = blocks[i];
            int at = i;
            for (; at >= gap && blocks[at - gap] > block; at -= gap)
                blocks[at] = blocks[at - gap];
            blocks[at] = block;
        }
}

int main(int count, char **arguments) {
    size_t size = argument(count, arguments, 1, 2000), usable = 0;
    uint64_t holes = 0, bytes = 0, addresses = 0;
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(size);
        usable = malloc_usable_size(blocks[i]);
        memset(blocks[i], 1, usable);
    }
    sort();
    for (int i = 1; i < BLOCKS - 1; i += 2) {
        uint64_t below = (uintptr_t)blocks[i - 1] + usable, above = (uintptr_t)blocks[i + 1];
        below = (below + GRANULE - 1) / GRANULE * GRANULE;
        free(blocks[i]);
        /* What lies further apart has something of the allocator's in between. */
        if (above - below >= 2 * usable)
            continue;
        holes++;
        bytes += above - below;
        addresses ^= below;
    }
    answer("holes", holes);
    answer("hole_bytes", bytes);
    answer("addresses", addresses);
    answer("usable", usable);
    flush_answers();
    return 0;
}
