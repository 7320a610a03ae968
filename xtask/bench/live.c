/* Many blocks that live to the end, and many more that come and go: through a small ring, all of
 * those that live are in the table of live blocks in the end.
 *
 * usage: live BLOCKS PAIRS */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { LIVE_BYTES = 32, BLOCK_BYTES = 64 };

int main(int count, char **arguments)
{
    long blocks = count > 1 ? atol(arguments[1]) : 0;
    long pairs = count > 2 ? atol(arguments[2]) : 0;
    if (blocks < 1 || pairs < 1) {
        fprintf(stderr, "usage: live BLOCKS PAIRS\n");
        return 2;
    }
    /* Each block holds the address of the one before: none is lost, and none is freed. */
    void **last = NULL;
    for (long i = 0; i < blocks; i++) {
        void **block = malloc(LIVE_BYTES);
        *block = last;
        last = block;
    }
    for (long i = 0; i < pairs; i++) {
        char *volatile block = malloc(BLOCK_BYTES);
        *(volatile char *)block = 1;
        free(block);
    }
    return last == NULL;
}
