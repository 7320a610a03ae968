/* Makes a known number of calls of the mmap family, all of which succeed. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>

#include "answer.h"

enum { PAGE = 4096, MAPPINGS = 100, MOVED = 10, ADVISED = 25, UNMAPPED = 40 };

int main(void) {
    static char *mapped[MAPPINGS];
    for (int i = 0; i < MAPPINGS; i++) {
        mapped[i] = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        mapped[i][0] = 1;
    }
    for (int i = 0; i < MOVED; i++)
        if ((mapped[i] = mremap(mapped[i], 8 * PAGE, 32 * PAGE, MREMAP_MAYMOVE)) == MAP_FAILED)
            return 99;
    for (int i = 0; i < ADVISED; i++)
        if (madvise(mapped[i], 4 * PAGE, MADV_DONTNEED) != 0)
            return 98;
    for (int i = 0; i < UNMAPPED; i++)
        if (munmap(mapped[i], (i < MOVED ? 32 : 8) * PAGE) != 0)
            return 97;
    answer("mmaps", MAPPINGS);
    answer("mremaps", MOVED);
    answer("madvises", ADVISED);
    answer("munmaps", UNMAPPED);
    flush_answers();
    return 0;
}
