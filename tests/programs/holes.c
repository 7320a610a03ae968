/* Makes holes of known number, size and place: blocks side by side, every second one freed. The
 * blocks are too large for the thread cache, and each hole has a live block on either side.
 *
 *   holes SIZE [thread]   by a thread: in the heap of an arena of its own
 */
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>

#include "answer.h"

enum { HOLES = 500, BLOCKS = 2 * HOLES + 1, HEADER = 8 };

static char *blocks[BLOCKS];

static void *make_holes(void *size) {
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc((size_t)size);
        memset(blocks[i], 1, malloc_usable_size(blocks[i]));
        if (i > 0 && (size_t)(blocks[i] - blocks[i - 1]) != malloc_usable_size(blocks[i]) + HEADER)
            _exit(99);
    }
    /* The time of greatest live size must not be the last moment. */
    usleep(100000);
    for (int i = 1; i < BLOCKS; i += 2)
        free(blocks[i]);
    return NULL;
}

int main(int count, char **arguments) {
    void *size = (void *)argument(count, arguments, 1, 2000);
    if (count > 2) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, make_holes, size) != 0)
            return 99;
        pthread_join(thread, NULL);
    } else {
        make_holes(size);
    }
    answer("holes", HOLES);
    answer("hole_bytes", malloc_usable_size(blocks[0]) + HEADER);
    answer("first_block", (uint64_t)(uintptr_t)blocks[0]);
    answer("last_block", (uint64_t)(uintptr_t)blocks[BLOCKS - 1]);
    answer("live_blocks", BLOCKS - HOLES);
    flush_answers();
    return 0;
}
