/* Large blocks from calloc: fresh pages are zero, and nobody touches them to find out. */
#include <stdlib.h>
#include <sys/resource.h>

#include "answer.h"

enum { LARGE = 256 << 20, FEW = 1000 };

static long faults(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt + usage.ru_majflt;
}

static int is_zero(const unsigned char *block, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 511)
        if (block[i] != 0)
            return 0;
    return block[bytes - 1] == 0;
}

int main(void) {
    static const size_t sizes[] = {100, 5000, 200000, 1 << 20, 3 << 20};
    long before = faults();
    unsigned char *volatile large = calloc(1 << 8, LARGE >> 8);
    answer("few_faults", large != NULL && faults() - before < FEW);
    int zero = is_zero(large, 1 << 20);
    free(large);
    for (int round = 0; round < 20; round++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            unsigned char *dirty = malloc(sizes[i]);
            memset(dirty, 1, sizes[i]);
            free(dirty);
            unsigned char *block = calloc(1, sizes[i]);
            zero &= is_zero(block, sizes[i]);
            memset(block, 2, sizes[i]);
            free(block);
        }
    answer("zero", (uint64_t)zero);
    volatile size_t much = (size_t)1 << 40;
    answer("too_much", calloc(much, much) == NULL);
    flush_answers();
    return 0;
}
