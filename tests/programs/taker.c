/* A library that takes and gives blocks for others. */
#include <stdlib.h>
#include <string.h>

void *take(size_t size);
void give(void *block);

void *take(size_t size) {
    return memset(malloc(size), 1, size);
}

void give(void *block) {
    free(block);
}
