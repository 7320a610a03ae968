/* Fills its heap and empties it, gives its pages back, and sleeps: nothing happens that a hook
 * could see. */
#define _GNU_SOURCE
#include <malloc.h>
#include <stdlib.h>

#include "answer.h"

enum { BLOCKS = 50000, BYTES = 1000, KEPT = 64 };

static unsigned char *block[BLOCKS];

int main(void) {
    for (int i = 0; i < BLOCKS; i++) {
        block[i] = malloc(BYTES);
        memset(block[i], 1, BYTES);
    }
    for (int i = 0; i < BLOCKS; i++)
        if (i % KEPT)
            free(block[i]);
    malloc_trim(0);
    usleep(2500000);
    _exit(0);
}
