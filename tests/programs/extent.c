/* Grows the brk heap, and tells where its last block and where the heap end. */
#define _GNU_SOURCE
#include <malloc.h>
#include <stdlib.h>

#include "answer.h"

enum { BLOCKS = 1000, BYTES = 5000 };

int main(void) {
    char *block = NULL;
    for (int i = 0; i < BLOCKS; i++) {
        block = malloc(BYTES);
        memset(block, 1, BYTES);
    }
    answer("last_block_end", (uint64_t)(uintptr_t)(block + malloc_usable_size(block)));
    answer("heap_end", (uint64_t)(uintptr_t)sbrk(0));
    flush_answers();
    return 0;
}
