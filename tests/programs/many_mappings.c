/* Makes so many mappings, none of which the kernel can make one with its neighbours, and
 * ends: the last look reads all of them.
 *
 *   many_mappings COUNT
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>

#include "answer.h"

enum { PAGE = 4096 };

int main(int count, char **arguments) {
    unsigned long mappings = argument(count, arguments, 1, 10);
    char *all = mmap(NULL, mappings * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED)
        return 99;
    for (unsigned long i = 0; i < mappings; i += 2)
        if (mmap(all + i * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
            MAP_FAILED)
            return 98;
    return 0;
}
