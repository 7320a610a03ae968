/* Makes holes of known number, size and place: blocks side by side, every second one freed. The
 * blocks are too large for the thread cache, and each hole has a live block on either side.
 *
 *   holes SIZE
 */
#include <malloc.h>
#include <stdlib.h>

#include "answer.h"

enum { HOLES = 500, BLOCKS = 2 * HOLES + 1, HEADER = 8 };

int main(int count, char **arguments) {
    static char *blocks[BLOCKS];
    size_t size = argument(count, arguments, 1, 2000);
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(size);
        memset(blocks[i], 1, malloc_usable_size(blocks[i]));
        if (i > 0 && (size_t)(blocks[i] - blocks[i - 1]) != malloc_usable_size(blocks[i]) + HEADER)
            return 99;
    }
    uint64_t hole_bytes = malloc_usable_size(blocks[1]) + HEADER;
    /* The time of greatest live size must not be the last moment. */
    usleep(100000);
    for (int i = 1; i < BLOCKS; i += 2)
        free(blocks[i]);
    answer("holes", HOLES);
    answer("hole_bytes", hole_bytes);
    answer("first_block", (uint64_t)(uintptr_t)blocks[0]);
    answer("last_block", (uint64_t)(uintptr_t)blocks[BLOCKS - 1]);
    answer("live_blocks", BLOCKS - HOLES);
    flush_answers();
    return 0;
}
