/* A program that calls malloc_trim: one in a hundred blocks stays, so that hardly a page at the top
 * of the heap is free, and only malloc_trim gives back what is. */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROUNDS = 3, BLOCKS = 8000, BLOCK_BYTES = 4000, STAYS = 100, REST_US = 100000 };

static char *blocks[BLOCKS];

int main(void) {
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < BLOCKS; i++)
            if (!blocks[i]) {
                blocks[i] = malloc(BLOCK_BYTES);
                memset(blocks[i], 1, BLOCK_BYTES);
            }
        usleep(REST_US);
        for (int i = 0; i < BLOCKS - 1; i++)
            if (i % STAYS) {
                free(blocks[i]);
                blocks[i] = NULL;
            }
        usleep(REST_US);
        malloc_trim(0);
        /* Whoever has blocks next takes a look. */
        usleep(REST_US);
        free(malloc(1));
    }
    return 0;
}
