/* Small blocks between large ones: all are taken, then the small ones are freed, then the rest.
 * After each step it tells its own sum and the kernel's figures.
 *
 *   interleaved [stdio]   with an argument: before each of them it reads its resident set as
 *                         programs do, with stdio's buffer of 4 KiB, for which glibc merges what
 *                         it has kept apart */
#define _GNU_SOURCE
#include <malloc.h>
#include <stdlib.h>

#include "checkpoint.h"

enum { PAIRS = 5000, SMALL_BYTES = 64, LARGE_BYTES = 4096, LOOKS = 6 };

static int with_stdio;

static void checkpoint(const char *when, uint64_t live) {
    char line[64];
    FILE *statm = with_stdio ? fopen("/proc/self/statm", "r") : NULL;
    if (statm && !fgets(line, sizeof line, statm))
        _exit(99);
    if (statm)
        fclose(statm);
    uint64_t from_ns = hold_still(LOOKS);
    answer_of(when, "live_bytes", live);
    tell_kernels_view(when);
    stay_still(when, from_ns);
}

int main(int count, char **arguments) {
    (void)arguments;
    with_stdio = count > 1;
    size_t table_bytes = 2 * PAIRS * sizeof(void *);
    checkpoint("begin", 0);
    void **blocks = malloc(table_bytes);
    memset(blocks, 0, table_bytes);
    for (int i = 0; i < 2 * PAIRS; i++) {
        size_t size = i % 2 ? LARGE_BYTES : SMALL_BYTES;
        blocks[i] = malloc(size);
        memset(blocks[i], 1, size);
    }
    checkpoint("filled", table_bytes + PAIRS * (SMALL_BYTES + LARGE_BYTES));
    for (int i = 0; i < 2 * PAIRS; i += 2)
        free(blocks[i]);
    checkpoint("without_small", table_bytes + PAIRS * LARGE_BYTES);
    for (int i = 1; i < 2 * PAIRS; i += 2)
        free(blocks[i]);
    checkpoint("without_any", table_bytes);
    return 0;
}
