/* A library that is finished after others: takes 10 blocks when it is loaded, gives them back and
 * takes 5 when the process ends. */
#include <stdlib.h>

static void *blocks[10];
void *late_blocks[5];

__attribute__((constructor)) static void at_start(void) {
    for (int i = 0; i < 10; i++)
        blocks[i] = malloc(100);
}

__attribute__((destructor)) static void at_end(void) {
    for (int i = 0; i < 10; i++)
        free(blocks[i]);
    for (int i = 0; i < 5; i++)
        late_blocks[i] = malloc(200);
}
